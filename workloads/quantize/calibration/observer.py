"""Observation of the tensors inside a model, which is run batch by batch with its inner tensors as outputs.

Memory: one slice of a batch at a time, as many samples as fit into BUDGET; what was seen lives on in the statistics.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.onnx import file, session
from workloads.onnx.feeds import SampleCall, filled
from workloads.quantize.calibration.statistics import Statistics, TensorStatistics

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Feeds = Mapping[str, npt.NDArray[Any]]

BUDGET = 64 << 20  # bytes of inner tensors at once
FLOATS = {np.dtype(np.float32), np.dtype(np.float16)}


def quantizable_op_types() -> frozenset[str]:
    """The operators that ONNX Runtime's quantizer knows to rewrite with Q/DQ."""
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return frozenset(QDQRegistry) | frozenset(QLinearOpsRegistry)


def tensors_to_observe(model: "onnx.ModelProto") -> list[str]:
    """Inputs and outputs of quantizable nodes that are no constants.

    Those that are not floats drop out at the first run.
    """
    known, constants = quantizable_op_types(), {tensor.name for tensor in model.graph.initializer}
    constants |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    names = (name for node in model.graph.node if node.op_type in known for name in (*node.input, *node.output))
    return list(dict.fromkeys(name for name in names if name and name not in constants))


class Observer:
    """A model whose inner tensors can be seen: all that quantization may ask for, or `only` these."""

    def __init__(self, model: "onnx.ModelProto", only: Collection[str] | None = None) -> None:
        import onnx

        opened = onnx.ModelProto()
        opened.CopyFrom(model)
        self._inputs = {value.name for value in model.graph.input}
        outputs = {value.name for value in model.graph.output}
        self._observed = [name for name in tensors_to_observe(model) if only is None or name in only]
        inner = [name for name in self._observed if name not in outputs | self._inputs]
        opened.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
        self._session = session.session(opened, optimise=False)
        self._outputs = [name for name in self._observed if name not in self._inputs]
        self._bytes_per_sample = 0
        self._fixed = file.fixed_batch(model)

    def values(self, feeds: "Feeds") -> "dict[str, npt.NDArray[Any]]":
        """Every observed float tensor for these inputs."""
        # Asked for nothing, the library gives everything.
        given = self._session.run(self._outputs, dict(feeds)) if self._outputs else []
        found = dict(zip(self._outputs, given, strict=True))
        found.update({name: feeds[name] for name in self._observed if name in self._inputs})
        return {name: value for name, value in found.items() if isinstance(value, np.ndarray) and value.dtype in FLOATS}

    def observe(self, feeds: "Feeds", into: Statistics) -> None:
        """Add one batch to the statistics. The moving average sees the batch as one, however it is sliced here."""
        extremes: dict[str, tuple[Any, Any]] = {}
        for part in self._slices(feeds):
            for name, value in self.values(part).items():
                low, high = into.setdefault(name, TensorStatistics()).add(value.reshape(1, -1))
                before = extremes.get(name, (low, high))
                extremes[name] = np.minimum(low, before[0]), np.maximum(high, before[1])
        for name, (low, high) in extremes.items():
            into[name].end_batch(low, high)

    def _slices(self, feeds: "Feeds") -> "Iterator[Feeds]":
        if isinstance(feeds, SampleCall):
            yield feeds
            return
        length = len(next(iter(feeds.values())))
        if self._fixed is not None or length <= 1:
            # A batch length burnt into the graph: the last samples come again rather than not at all.
            yield feeds if self._fixed is None else filled(feeds, self._fixed)
            return
        if not self._bytes_per_sample:
            first = self.values({name: value[:1] for name, value in feeds.items()})
            self._bytes_per_sample = max(1, sum(value.nbytes for value in first.values()))
        step = max(1, BUDGET // self._bytes_per_sample)
        for start in range(0, length, step):
            yield {name: value[start : start + step] for name, value in feeds.items()}
