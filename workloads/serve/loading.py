"""Loading of a model: from settings to a warm engine.

Runs on a thread, while the event loop already answers the probes.
"""

import logging
import math
from dataclasses import replace
from typing import Any

from slipway.api.common.artifact import TOKENIZER_FILE
from slipway.api.serving.engine import EngineName
from workloads.errors import BadInput
from workloads.pod.cpus import cpu_limit
from workloads.serve.engines import choose
from workloads.serve.engines.engine import Engine, Options, Unavailable
from workloads.serve.engines.given import read_given
from workloads.serve.engines.tensorrt import cache
from workloads.serve.engines.warmup import NothingRuns, Plan, WarmUp, sizes_up_to, unseen, warm_up
from workloads.serve.model import Model, load
from workloads.serve.service import Loaded
from workloads.serve.settings import Settings
from workloads.serve.tokenizer.padding_probe import padding_is_harmless
from workloads.serve.tokenizer.tokens import Tokens, processing_of

LOG = logging.getLogger("slipway.serve")


class _Accept:
    """Warms up what `choose` offers, and remembers what it saw.

    `strict`: an engine is refused if another one may do better; else every engine that opens is taken, and what is
    wrong becomes a warning. Inputs that somebody gave are no guess: an engine that does not run them is refused.
    """

    def __init__(self, model: Model, plan: Plan) -> None:
        self._model = model
        self._plan = plan
        self.strict = True
        self.opened: list[EngineName] = []
        self.seen: WarmUp | None = None

    def __call__(self, engine: Engine) -> None:
        self.opened.append(EngineName(engine.name))
        try:
            self.seen = warm_up(engine, self._model.signature, self._plan)
        except NothingRuns as error:
            if self.strict or (self._plan.given is not None and self._plan.given.rows):
                raise
            seen = unseen(self._model.signature, self._plan.rows, str(error))
            self.seen = replace(seen, warnings=(str(error),))
        if self.strict and self.seen.flaws:
            raise Unavailable(self.seen.flaws[0])


def options_for(settings: Settings, model: Model | None = None) -> Options:
    """Threads are shared out among the instances. An artifact's texts may be longer than what is usual."""
    how = processing_of(model.artifact, model.signature) if model is not None else None
    threads = settings.threads or math.ceil(cpu_limit())
    return Options(
        threads=max(1, threads // settings.instances),
        sizes=sizes_up_to(settings.batching.max_batch_size),
        cache=settings.engine_cache,
        providers=settings.providers,
        build=settings.builds_engines or settings.build_only,
        accelerator=settings.accelerator,
        longest=settings.max_axis_length or max(Options.longest, how.max_tokens if how is not None else 0),
    )


def build_engine(settings: Settings) -> dict[str, Any]:
    """Build the TensorRT engine for the GPU of this machine into the cache, if it is not there. For the build Job.

    A portable engine where there is no GPU. Returns its key, what it is bound to, its size in bytes, and the seconds
    that building took, whenever that was. BadInput without a cache; Unavailable becomes BadInput as well.
    """
    from workloads.serve.engines.tensorrt import engine, gpu
    from workloads.serve.engines.tensorrt.build import PORTABLE

    if settings.engine_cache is None:
        raise BadInput(
            "there is no engine cache to build into: set engine.cache, --engine-cache or SLIPWAY_ENGINE_CACHE"
        )
    model = load(settings.model, settings.name, settings.version, settings.digest, settings.described)
    device = gpu.present()
    try:
        _, key = engine.plan_for(
            model, options_for(settings, model), device.architecture if device is not None else PORTABLE
        )
    except Unavailable as error:
        raise BadInput(str(error)) from error
    record = cache.record_of(settings.engine_cache, key)
    if record is None:
        raise BadInput(f"the engine cache {settings.engine_cache} cannot be written")
    facts = {"key": key.digest, "architecture": key.architecture, "library": key.library}
    return {**facts, "bytes": record["bytes"], "buildSeconds": record.get("seconds", 0)}


def load_and_warm_up(settings: Settings) -> Loaded:
    """Verify the model, load it and warm its engines up. BadInput, Corrupt or NoEngine in words."""
    model = load(settings.model, settings.name, settings.version, settings.digest, settings.described)
    options = options_for(settings, model)
    given = read_given(settings.warm_up, model.signature)
    accept = _Accept(model, Plan(options.sizes, settings.warm_up.mode, given, model.rows, model.steps8))
    candidates = choose.order(settings.engine, settings.fallback, settings.accelerator)
    on_cpu = choose.will_do(settings.engine, settings.fallback, settings.providers)
    first, attempts = _choose(model, candidates, options, accept, on_cpu)
    engines = [first]
    for _ in range(settings.instances - 1):
        engines.append(choose.choose(model, [EngineName(first.name)], options, accept, on_cpu)[0])
    assert accept.seen is not None  # noqa: S101  (choose has called it)
    seen = accept.seen
    times = ", ".join(f"{rows}: {seconds * 1000:.2f} ms" for rows, seconds in seen.seconds.items())
    LOG.info("%s serves %s with %d thread(s); warm-up by rows: %s", first.name, model.name, options.threads, times)
    for warning in seen.warnings:
        LOG.warning("%s", warning)
    if seen.alone:
        LOG.warning("every request is computed alone: %s", seen.alone)
    model = replace(model, signature=seen.signature or model.signature)
    return Loaded(model, engines, seen, attempts, _tokens(model, first))


def _choose(
    model: Model,
    candidates: list[EngineName],
    options: Options,
    accept: _Accept,
    on_cpu: frozenset[EngineName] = frozenset(),
) -> tuple[Engine, list[choose.Attempt]]:
    """The first engine without a flaw, else the first one that opens: a flaw may lie in inputs that were invented."""
    try:
        return choose.choose(model, candidates, options, accept, on_cpu)
    except choose.NoEngine as error:
        if not accept.opened:
            raise
        accept.strict = False
        opened = list(dict.fromkeys(accept.opened))
        engine, _ = choose.choose(model, opened, options, accept, on_cpu)
        return engine, [attempt for attempt in error.attempts if attempt.name is not EngineName(engine.name)]


def _tokens(model: Model, engine: Engine) -> Tokens | None:
    """Tokens of a model that takes texts; None for any other. Not padded where padding changes the answers."""
    how = processing_of(model.artifact, model.signature)
    if how is None:
        return None
    listed = {file.path for file in model.artifact.files} if model.artifact is not None else set()
    if listed and how.tokenizer == TOKENIZER_FILE and TOKENIZER_FILE not in listed:
        raise BadInput(f"the artifact takes texts, and {TOKENIZER_FILE} is not among the files that it lists")
    tokens = Tokens(how, model.signature, model.folder)
    if tokens.padded and not padding_is_harmless(engine, model.signature, tokens):
        LOG.warning("padding changes the model's answers: texts of different lengths are computed apart")
        tokens.padded = False
    return tokens
