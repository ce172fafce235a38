"""ONNX Runtime, on the CPU or with its CUDA or TensorRT provider."""

import ctypes
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slipway.api.quantization.ladder import Hardware
from workloads.onnx import exact_kernels, model_files, saturation
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.engines.engine import OnCpu, Options, Unavailable
from workloads.serve.errors import first_line
from workloads.serve.model import Model

log = logging.getLogger(__name__)

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
# Taken where the image has them and nothing else is asked for: a wheel has those of one maker at most.
GPU_PROVIDERS = (CUDA, "MIGraphXExecutionProvider", "ROCMExecutionProvider")
BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class OnnxRuntime:
    """A session. It gives up the GIL while it computes."""

    name = "onnxruntime"

    def __init__(self, model: Model, session: Any, version: str) -> None:
        self._session = session
        self._inputs = [tensor.name for tensor in model.signature.inputs]
        self._outputs = [tensor.name for tensor in model.signature.outputs]
        # Strings come and go as str; the protocol has bytes.
        tensors = (*model.signature.inputs, *model.signature.outputs)
        self._text = any(tensor.datatype is Datatype.BYTES for tensor in tensors)
        # numpy has no bfloat16 of its own: such tensors go by their bytes.
        self._half = any(tensor.datatype is Datatype.BF16 for tensor in tensors)
        self._version = version

    @property
    def details(self) -> Mapping[str, str]:
        """Version and the providers that were really taken."""
        return {"version": self._version, "providers": ",".join(self._session.get_providers())}

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch."""
        if self._text:
            inputs = [_each(bytes.decode, array) for array in inputs]
        named = dict(zip(self._inputs, inputs, strict=True))
        results: list[Array] = self._by_bytes(named) if self._half else self._session.run(self._outputs, named)
        return [_each(str.encode, array) for array in results] if self._text else results

    def _by_bytes(self, inputs: Mapping[str, Array]) -> list[Array]:
        from onnxruntime import OrtValue

        values = {
            name: OrtValue.ortvalue_from_numpy_with_onnx_type(np.ascontiguousarray(array).view(np.uint16), BFLOAT16)
            if array.dtype == Datatype.BF16.dtype
            else OrtValue.ortvalue_from_numpy(array)
            for name, array in inputs.items()
        }
        return [_array(result) for result in self._session.run_with_ort_values(self._outputs, values)]

    def close(self) -> None:
        """The session goes with its last reference."""
        del self._session


def _array(value: Any) -> Array:
    if value.element_type() != BFLOAT16:
        array: Array = value.numpy()
        return array
    content = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(content, np.uint16).view(Datatype.BF16.dtype).reshape(value.shape())


def _each(change: Callable[[Any], Any], array: Array) -> Array:
    if array.dtype.kind != "O":
        return array
    changed = np.empty(array.shape, dtype=object)
    changed.reshape(-1)[:] = [change(value) for value in array.reshape(-1)]
    return changed


def open_engine(model: Model, options: Options) -> OnnxRuntime:
    """A session over the model's ONNX file."""
    if model.onnx is None:
        raise Unavailable("onnxruntime needs model.onnx, and the artifact has none: export it, or use the torch engine")
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(f"onnxruntime is not installed ({error})") from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    # A spinning thread takes the CPU from the one that reads requests, and burns a container's quota.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    providers = _providers(onnxruntime.get_available_providers(), options, model.digest)
    try:
        session = onnxruntime.InferenceSession(_loadable(model.onnx, settings), settings, providers=providers)
    except Exception as error:  # its own classes are not exported, and a bad file is one of them
        raise Unavailable(f"onnxruntime cannot load the model: {first_line(error)}") from error
    _check(session.get_providers(), options)
    return OnnxRuntime(model, session, onnxruntime.__version__)


def _loadable(path: Path, settings: Any) -> str | bytes:
    """The file, or where this CPU takes exact kernels and they would not load it, its bytes as they do.

    Where the CPU's fast kernels would saturate, the answers that were judged are worth more than speed.
    """
    if saturation.hardware() is not Hardware.X86:
        return str(path)
    given = model_files.parse(path)
    if not saturation.options(settings, given):
        return str(path)
    log.warning(
        "this CPU has no VNNI, and the weights use all 8 bits: exact, slower kernels are taken; quantize for "
        "target.hardware x86 to have fast ones"
    )
    apart = exact_kernels.apart(given)
    whole = all(tensor.data_location != tensor.EXTERNAL for tensor in given.graph.initializer)
    return apart.SerializeToString() if apart is not given and whole else str(path)


def _check(taken: Sequence[str], options: Options) -> None:
    """Refuse a session on the CPU alone that was to compute elsewhere.

    A provider whose libraries or driver are missing is left out with a line in the log, and the CPU does all.
    """
    lost = [name for name in options.providers if name not in taken]
    if lost:
        raise Unavailable(f"onnxruntime could not start {', '.join(lost)} here: libraries or device are missing")
    if options.accelerator and list(taken) == [CPU]:
        raise OnCpu("onnxruntime has only its CPU provider here", options.accelerator)


def _providers(present: Sequence[str], options: Options, digest: str) -> list[str | tuple[str, dict[str, str]]]:
    """Execution providers of a session: those asked for, in their order; without a wish a GPU's if there is one.

    The CPU is always the last.
    """
    wanted = options.providers or GPU_PROVIDERS
    missing = [name for name in options.providers if name not in present]
    if missing:
        raise Unavailable(f"onnxruntime has no {', '.join(missing)} here, only {', '.join(present)}")
    chosen: list[str | tuple[str, dict[str, str]]] = []
    for name in wanted:
        if name == TENSORRT and options.cache is not None:
            chosen.append((name, _tensorrt_cache(options.cache, digest)))
        elif name in present and name != CPU:
            chosen.append(name)
    return [*chosen, CPU]


def _tensorrt_cache(cache: Path, digest: str) -> dict[str, str]:
    folder = str(cache / f"onnxruntime-{digest.removeprefix('sha256:')[:16]}")
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
    }
