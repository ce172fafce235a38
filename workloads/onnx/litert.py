"""LiteRT (TFLite) models: whether its packages are here, and its interpreter with the face of an ONNX Runtime session.

Their packages are an extra of their own (`litert` of pyproject.toml), larger than all others together.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads import libraries
from workloads.errors import BadInput
from workloads.libraries import extra

if TYPE_CHECKING:
    import numpy.typing as npt

    Feeds = Mapping[str, npt.NDArray[Any]]

MAGIC = b"TFL3"  # at byte 4 of every LiteRT file
SIGNATURE = "serving_default"
PACKAGES = ("litert_torch", "ai_edge_quantizer", "ai_edge_litert")


def is_litert(model: Any) -> bool:
    """Tell whether these are the bytes of a LiteRT model."""
    return isinstance(model, bytes) and model[4:8] == MAGIC


def require(*, trainable: bool) -> None:
    """BadInput when a job for LiteRT cannot be done here: before anything is computed for it."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        raise BadInput(
            f"target.runtime litert needs {', '.join(absent)}, which this image does not hold: {extra('litert')}"
        )
    if not trainable:
        raise BadInput("target.runtime litert converts torch modules: give an artifact with weights instead of ONNX")


@dataclass(frozen=True)
class Input:
    """Input of a LiteRT model, as ONNX Runtime describes one; None is an axis of any length."""

    name: str
    shape: Sequence[int | None]


class Session:
    """LiteRT's interpreter with the face of an ONNX Runtime session: batches of any length, floats in and out."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        from ai_edge_litert.interpreter import Interpreter

        with libraries.quiet():
            self._runner = Interpreter(model_content=content, num_threads=threads).get_signature_runner()
        # In the order of the module's arguments: the converter numbers them.
        details = self._runner.get_input_details()
        self.names = sorted(details, key=lambda name: int(name.rpartition("_")[2]))
        self._inputs = [details[name] for name in self.names]
        self._outputs = self._runner.get_output_details()
        # An axis whose length the file leaves open; the runner resizes its tensors where a batch has another length.
        self.batched = all(_axes(one)[:1] == [None] for one in self._inputs)

    @property
    def outputs(self) -> int:
        """Number of the model's outputs."""
        return len(self._outputs)

    def get_inputs(self) -> list[Input]:
        """Inputs of the model, the first axis of each free: a batch that it cannot take is run sample by sample."""
        return [Input(name, (None, *_axes(one)[1:])) for name, one in zip(self.names, self._inputs, strict=True)]

    def run(self, _names: None, feeds: "Feeds") -> "list[npt.NDArray[np.float32]]":
        """The outputs for all samples."""
        values = list(feeds.values())
        if self.batched:
            return self._sample(values)
        rows = [self._sample([value[row : row + 1] for value in values]) for row in range(len(values[0]))]
        return [np.concatenate(column) for column in zip(*rows, strict=True)]

    def _sample(self, values: "Sequence[npt.NDArray[Any]]") -> "list[npt.NDArray[np.float32]]":
        given = {
            name: _integers(value, about) for name, value, about in zip(self.names, values, self._inputs, strict=True)
        }
        found = self._runner(**given)
        return [_floats(found[name], self._outputs[name]) for name in sorted(found)]


def _axes(about: Mapping[str, Any]) -> list[int | None]:
    """Lengths of the axes, None for one that the file leaves open."""
    open_or_not = about["shape_signature"] if len(about["shape_signature"]) else about["shape"]
    return [None if axis < 0 else int(axis) for axis in open_or_not]


def _integers(value: "npt.NDArray[Any]", about: Mapping[str, Any]) -> "npt.NDArray[Any]":
    """A float input as the integers that a fully quantized model takes."""
    scale, zero = about["quantization"]
    if not scale:
        return value
    limits = np.iinfo(about["dtype"])
    integers: npt.NDArray[Any] = np.clip(np.rint(value / scale) + zero, limits.min, limits.max).astype(about["dtype"])
    return integers


def _floats(value: "npt.NDArray[Any]", about: Mapping[str, Any]) -> "npt.NDArray[np.float32]":
    scale, zero = about["quantization"]
    return ((value.astype(np.float32) - zero) * scale if scale else value).astype(np.float32)
