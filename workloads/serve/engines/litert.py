"""LiteRT (TFLite) on the CPU: the artifacts that a QuantizationJob for the runtime litert publishes.

Clients send and get floats, also of a model whose own inputs and outputs are int8: scales and zero points are in the
file.
A file whose batch is fixed, as LiteRT's converter makes it, computes the rows of a batch one after the other.
"""

import importlib.util
from collections.abc import Mapping, Sequence

from workloads.onnx.litert import Session
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.model import Model
from workloads.serve.signature import Signature

PACKAGE = "ai_edge_litert"
ABSENT = (
    "litert needs the package ai-edge-litert, which this image does not hold: set predictor.image to one made from this"
    " server's with it installed, or have the QuantizationJob target onnxruntime"
)


class LiteRt:
    """An interpreter, which keeps its tensors between two batches."""

    name = "litert"

    def __init__(self, session: Session, signature: Signature, version: str) -> None:
        self._session = session
        self._inputs = signature.inputs
        self._outputs = signature.outputs
        self._details = {"version": version, "device": "CPU", "batches": "whole" if session.batched else "row by row"}

    @property
    def details(self) -> Mapping[str, str]:
        """Version, device, and whether a batch is computed at once."""
        return self._details

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch."""
        feeds = dict(zip(self._session.names, inputs, strict=True))
        found = self._session.run(None, feeds)
        return [
            value.astype(tensor.datatype.dtype, copy=False) for value, tensor in zip(found, self._outputs, strict=True)
        ]

    def close(self) -> None:
        """The interpreter goes with its last reference."""
        del self._session


def open_engine(model: Model, options: Options) -> LiteRt:
    """The artifact's model.tflite, with its tensors allocated."""
    if model.litert is None:
        raise Unavailable("litert needs model.tflite, and the model has none: have a QuantizationJob make it")
    if any(tensor.datatype is Datatype.BYTES for tensor in (*model.signature.inputs, *model.signature.outputs)):
        raise Unavailable("litert has no texts as tensors here")
    if importlib.util.find_spec(PACKAGE) is None:
        raise Unavailable(ABSENT)
    import ai_edge_litert

    try:
        session = Session(model.litert.read_bytes(), options.threads)
    except (ValueError, RuntimeError) as error:  # what its interpreter raises for operators that it does not have
        raise Unavailable(f"litert cannot load the model: {str(error).strip().splitlines()[0]}") from error
    if differs := _difference(session, model.signature):
        raise Unavailable(f"litert reads {differs} from the file, which the artifact's signature does not say")
    return LiteRt(session, model.signature, getattr(ai_edge_litert, "__version__", ""))


def _difference(session: Session, signature: Signature) -> str:
    """First difference between the file and the signature, or nothing.

    Names are the converter's own, so shapes and counts are compared.
    """
    inputs = [tuple(one.shape[1:]) for one in session.get_inputs()]
    if len(inputs) != len(signature.inputs):
        return f"{len(inputs)} inputs"
    for shape, tensor in zip(inputs, signature.inputs, strict=True):
        axes = tensor.axes[1:]
        fits = len(axes) == len(shape) and all(
            isinstance(axis, str) or length in {axis, None} for length, axis in zip(shape, axes, strict=True)
        )
        if not fits:
            return f"an input of shape {[None, *shape]}"
    if session.outputs != len(signature.outputs):
        return f"{session.outputs} outputs"
    return ""
