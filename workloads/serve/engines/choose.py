"""Choice of the engine: tries them in order until one loads, warms up and gives finite results. Called at start."""

import importlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from slipway.api.serving.engine import EngineName
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


def order(name: EngineName, fallback: Sequence[EngineName]) -> list[EngineName]:
    """Engines to try, in order: `auto` stands for all of AUTO; nothing twice."""
    expanded = [one for choice in (name, *fallback) for one in (AUTO if choice is EngineName.AUTO else (choice,))]
    return list(dict.fromkeys(expanded))


def choose(
    model: Model, candidates: Sequence[EngineName], options: Options, accept: Callable[[Engine], None]
) -> tuple[Engine, list[Attempt]]:
    """The first engine that opens and that `accept` does not refuse with Unavailable; and those tried before it.

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
            engine = opener(model, options)
            accept(engine)
        except Unavailable as error:
            LOG.info("engine %s is not used: %s", name.value, error)
            attempts.append(Attempt(name, str(error)))
            if engine is not None:
                engine.close()
            continue
        return engine, attempts
    raise NoEngine(attempts)
