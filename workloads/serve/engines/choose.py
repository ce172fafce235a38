"""Choice of the engine: tries them in order until one loads, warms up and gives finite results. Called at start."""

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from slipway.api.serving.engine import EngineName, Provider
from workloads.errors import BadInput
from workloads.serve.engines.engine import Engine, Open, Options, Unavailable
from workloads.serve.model import Model

LOG = logging.getLogger("slipway.serve")

FILES = {
    EngineName.ONNXRUNTIME: "workloads.serve.engines.onnx_runtime",
    EngineName.OPENVINO: "workloads.serve.engines.open_vino",
    EngineName.TORCH: "workloads.serve.engines.torch_engine",
    EngineName.TENSORRT: "workloads.serve.engines.tensorrt.engine",
    EngineName.LITERT: "workloads.serve.engines.litert",
}
# Fastest first, as measured; tensorrt says at once when there is no GPU.
CPU_ONLY = frozenset({EngineName.OPENVINO, EngineName.LITERT})
AUTO = (EngineName.TENSORRT, EngineName.ONNXRUNTIME, EngineName.OPENVINO, EngineName.TORCH, EngineName.LITERT)


class NoEngine(BadInput):
    """Error where none of the engines asked for can serve the model here. `attempts`: each one's reason."""

    def __init__(self, attempts: Sequence["Attempt"]) -> None:
        super().__init__("no engine can serve this model: " + "; ".join(f"{a.name}: {a.reason}" for a in attempts))
        self.attempts = tuple(attempts)


@dataclass(frozen=True)
class Attempt:
    """An engine that was tried in vain."""

    name: EngineName
    reason: str


def order(name: EngineName, fallback: Sequence[EngineName], accelerator: str = "") -> list[EngineName]:
    """Engines to try, in order: `auto` stands for all of AUTO, and beside an accelerator for those that know any.

    Nothing is there twice.
    """
    known = [one for one in AUTO if not accelerator or one not in CPU_ONLY]
    expanded = [one for choice in (name, *fallback) for one in (known if choice is EngineName.AUTO else (choice,))]
    return list(dict.fromkeys(expanded))


def will_do(name: EngineName, fallback: Sequence[EngineName], providers: Sequence[str]) -> frozenset[EngineName]:
    """Engines that the user lets compute on the CPU beside an accelerator.

    What is named as a fallback, an engine for the CPU alone that is named, and ONNX Runtime with its CPU provider.
    """
    told = {*fallback, *({name} & CPU_ONLY)} - {EngineName.AUTO}
    return frozenset(told | ({EngineName.ONNXRUNTIME} if Provider.CPU in providers else set()))


def choose(
    model: Model,
    candidates: Sequence[EngineName],
    options: Options,
    accept: Callable[[Engine], None],
    on_cpu: frozenset[EngineName] = frozenset(),
) -> tuple[Engine, list[Attempt]]:
    """The first engine that opens and that `accept` does not refuse with Unavailable; and those tried before it.

    `on_cpu`: those that may compute on the CPU, whatever the pod asks for.

    NoEngine when there is none; Corrupt when the model itself is damaged, whatever the engine.
    """
    attempts: list[Attempt] = []
    for name in candidates:
        if name not in FILES:
            attempts.append(Attempt(name, "it serves language models alone, and this is none"))
            continue
        opener: Open = importlib.import_module(FILES[name]).open_engine
        engine: Engine | None = None
        try:
            engine = opener(model, replace(options, accelerator="") if name in on_cpu else options)
            accept(engine)
        except Unavailable as error:
            LOG.info("engine %s is not used: %s", name.value, error)
            attempts.append(Attempt(name, str(error)))
            if engine is not None:
                engine.close()
            continue
        return engine, attempts
    raise NoEngine(attempts)
