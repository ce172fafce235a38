"""From settings to a warm engine. Runs on a thread, while the event loop already answers the probes."""

import logging
import math
from dataclasses import dataclass
from typing import Any

from slipway.api.inferenceservice import EngineName
from workloads.cpus import cpu_limit
from workloads.errors import BadInput
from workloads.serve.engines import choose
from workloads.serve.engines.engine import Engine, Options, Unavailable
from workloads.serve.engines.tensorrt import cache
from workloads.serve.engines.warmup import WarmUp, sizes_up_to, warm_up
from workloads.serve.model import Model, load
from workloads.serve.service import Loaded
from workloads.serve.settings import Settings
from workloads.serve.text.probe import padding_is_harmless
from workloads.serve.text.tokens import Tokens, processing_of

LOG = logging.getLogger("slipway.serve")


@dataclass
class _Accept:
    """Warms up what `choose` offers, and remembers what it saw."""

    model: Model
    sizes: tuple[int, ...]
    seen: WarmUp | None = None

    def __call__(self, engine: Engine) -> None:
        self.seen = warm_up(engine, self.model.signature, self.sizes)


def options_for(settings: Settings) -> Options:
    """Threads are shared out among the instances."""
    threads = settings.threads or math.ceil(cpu_limit())
    return Options(
        threads=max(1, threads // settings.instances),
        sizes=sizes_up_to(settings.batching.max_batch_size),
        cache=settings.engine_cache,
        providers=settings.providers,
        build=settings.builds_engines or settings.build_only,
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
    model = load(settings.model, settings.name, settings.version, settings.digest)
    device = gpu.present()
    try:
        _, key = engine.plan_for(model, options_for(settings), device.architecture if device is not None else PORTABLE)
    except Unavailable as error:
        raise BadInput(str(error)) from error
    record = cache.record_of(settings.engine_cache, key)
    if record is None:
        raise BadInput(f"the engine cache {settings.engine_cache} cannot be written")
    facts = {"key": key.digest, "architecture": key.architecture, "library": key.library}
    return {**facts, "bytes": record["bytes"], "buildSeconds": record.get("seconds", 0)}


def load_and_warm_up(settings: Settings) -> Loaded:
    """Verified, loaded, warm. BadInput, Corrupt or NoEngine in words."""
    model = load(settings.model, settings.name, settings.version, settings.digest)
    options = options_for(settings)
    accept = _Accept(model, options.sizes)
    candidates = choose.order(settings.engine, settings.fallback)
    first, attempts = choose.choose(model, candidates, options, accept)
    engines = [first]
    for _ in range(settings.instances - 1):
        engines.append(choose.choose(model, [EngineName(first.name)], options, accept)[0])
    assert accept.seen is not None  # noqa: S101  (choose has called it)
    times = ", ".join(f"{rows}: {seconds * 1000:.2f} ms" for rows, seconds in accept.seen.seconds.items())
    LOG.info("%s serves %s with %d thread(s); warm-up by rows: %s", first.name, model.name, options.threads, times)
    if model.signature.batched and not accept.seen.independent:
        LOG.warning("the model's rows change each other in a batch: every request is computed alone")
    return Loaded(model, engines, accept.seen, attempts, _tokens(model, first))


def _tokens(model: Model, engine: Engine) -> Tokens | None:
    """For a model that takes texts."""
    how = processing_of(model.artifact, model.signature)
    if how is None:
        return None
    tokens = Tokens(how, model.signature, model.folder)
    if tokens.padded and not padding_is_harmless(engine, model.signature, tokens):
        LOG.warning("padding changes the model's answers: texts of different lengths are computed apart")
        tokens.padded = False
    return tokens
