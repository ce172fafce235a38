"""Interface of an engine to the rest of the server: the Protocol, its options, and the error when it cannot open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from workloads.serve.datatypes import Array
from workloads.serve.model import Model


class Unavailable(Exception):  # noqa: N818
    """This engine cannot serve this model here: library, driver, device or file is missing. The next one is tried."""


class OnCpu(Unavailable):
    """Engine that would compute on the CPU beside an accelerator that the pod asks for and pays for."""

    def __init__(self, why: str, accelerator: str) -> None:
        super().__init__(
            f"{why}, and the pod asks for {accelerator}: use an image whose engines compute on it (predictor.image), "
            "remove it from predictor.resources, or say that the CPU will do: engine.fallback, or engine.provider "
            "CPUExecutionProvider"
        )


class Engine(Protocol):
    """One instance, used by one thread at a time."""

    name: str

    @property
    def details(self) -> Mapping[str, str]:
        """Version, device, precision: for people, metadata and metrics."""

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch: contiguous arrays in the signature's order in, results in its order out."""

    def close(self) -> None:
        """Give the memory back."""


@dataclass(frozen=True)
class Options:
    """Options for opening an engine. `sizes`: rows of the batches that will be common, the largest last.

    `providers`: ONNX Runtime's, in this order; its CUDA provider where there is one, when empty. `build`: whether a
    TensorRT engine that is not in the cache is built here; where a Job builds it, a server only looks. `accelerator`:
    what the pod asks for, in its resources' words, unless the CPU will do. `longest`: how long an axis beside the batch
    may be in a TensorRT engine where the model leaves it free.
    """

    threads: int = 1
    sizes: tuple[int, ...] = (1,)
    cache: Path | None = None
    providers: tuple[str, ...] = ()
    build: bool = True
    accelerator: str = ""
    longest: int = 512


class Open(Protocol):
    """Type of the function `open_engine` in an engine's file."""

    def __call__(self, model: Model, options: Options) -> Engine:
        """Load. Unavailable when it cannot be used for this model here; Corrupt when the file is damaged."""
