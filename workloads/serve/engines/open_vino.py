"""OpenVINO on the CPU, in float32: its default on processors with AMX is bfloat16, which would be another model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workloads.serve.datatypes import Array, Datatype
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.model import Model

DEVICE = "CPU"


class OpenVino:
    """A compiled model and one request object, whose buffers are reused."""

    name = "openvino"

    def __init__(self, compiled: Any, order: list[int], version: str) -> None:
        self._compiled = compiled
        self._request = compiled.create_infer_request()
        self._order = order
        self._details = {"version": version, "device": DEVICE}

    @property
    def details(self) -> Mapping[str, str]:
        """Version and device."""
        return self._details

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch. Results are copied out, because the next batch reuses their memory."""
        self._request.infer(dict(enumerate(inputs)), share_inputs=True)
        return [np.array(self._request.get_output_tensor(place).data) for place in self._order]

    def close(self) -> None:
        """The compiled model goes with its last reference."""
        del self._request, self._compiled


def open_engine(model: Model, options: Options) -> OpenVino:
    """The model's ONNX file, compiled."""
    if model.onnx is None:
        raise Unavailable("openvino needs model.onnx, and the artifact has none: export it, or use the torch engine")
    if any(tensor.datatype is Datatype.BYTES for tensor in model.signature.inputs):
        raise Unavailable("openvino has no string tensors as inputs")
    try:
        import openvino
    except ImportError as error:
        raise Unavailable(f"openvino is not installed ({error})") from error
    settings = {"INFERENCE_NUM_THREADS": options.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    try:
        core = openvino.Core()
        network = core.read_model(str(model.onnx))
        compiled = core.compile_model(network, DEVICE, settings)
        inputs, outputs = _names(network.inputs), _names(network.outputs)
    except Exception as error:  # every failure of its C++ side is a RuntimeError with a page of text
        raise Unavailable(f"openvino cannot load the model: {str(error).strip().splitlines()[-1]}") from error
    wanted = [tensor.name for tensor in model.signature.inputs]
    if inputs != wanted:
        raise Unavailable(f"openvino reads inputs {inputs} from the file, the artifact says {wanted}")
    order = [outputs.index(tensor.name) for tensor in model.signature.outputs if tensor.name in outputs]
    return OpenVino(compiled, order, openvino.__version__)


def _names(ports: Any) -> list[str]:
    return [port.get_any_name() for port in ports]
