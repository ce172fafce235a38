"""Sessions of ONNX models, on ONNX Runtime; of LiteRT files and circuits, on their own.

One place for ONNX Runtime's session options, so that every figure is measured alike.
"""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput
from workloads.onnx import exact_kernels, external_data, hls, litert, saturation
from workloads.pod import environment
from workloads.pod.cpus import cpu_limit

if TYPE_CHECKING:
    import onnx

PROVIDERS = ["CPUExecutionProvider"]
FATAL = 4  # only what raises anyway: the library's remarks on Q/DQ pairs that it fuses are not for people


def session(model: "onnx.ModelProto | bytes", *, threads: int | None = None, optimise: bool = True) -> Any:
    """An inference session on the CPU: ONNX Runtime's, or another's for the bytes of its models.

    `optimise` fuses and folds as in serving; without it every tensor of the graph exists. Never for FP8, whose Q/DQ
    the library fuses into kernels that it does not have, and whose Relu it drops; unfused it computes what they say.
    """
    import onnx
    import onnxruntime

    if isinstance(model, bytes) and litert.is_litert(model):
        return litert.Session(model, threads or own_threads())
    if isinstance(model, bytes) and hls.is_hls(model):
        return hls.Session(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads or own_threads(), 1
    options.log_severity_level = FATAL
    # Threads that spin while idle take the cores from the other half of a comparison.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimise and not has_float8(model) else levels.ORT_DISABLE_ALL
    )
    parsed = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
    if saturation.options(options, parsed):
        model = exact_kernels.apart(parsed)
    try:
        if external_data.held(model):
            return _from_files(model, options)
        content = model if isinstance(model, bytes) else model.SerializeToString()
        return onnxruntime.InferenceSession(content, options, providers=PROVIDERS)
    except OSError:
        raise
    except Exception as error:  # the library raises a dozen unrelated types
        raise BadInput(f"ONNX Runtime cannot load the model: {_words(error)}") from error


def _words(error: Exception) -> str:
    """First line of an error of the library, with what to do about the one that is the image's and not the model's."""
    line = str(error).strip().splitlines()[0]
    if "construct locale" not in line:
        return line
    return f"{line[:400]} (set attribute `locale` of its StringNormalizer to C.UTF-8, or install that locale)"


def _from_files(model: Any, options: Any) -> Any:
    """A session whose constants are mapped from their files: the graph is written beside them for as long as it loads.

    Without packed copies of floats for the kernels, which would be as large as the constants; not so with integers,
    whose fused kernels are tens of times slower when nothing is packed.
    """
    import onnx
    import onnxruntime

    constants = model.graph.initializer
    outer = {tensor.data_type for tensor in constants if tensor.data_location == tensor.EXTERNAL}
    if onnx.TensorProto.FLOAT in outer and not outer & {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}:
        options.add_session_config_entry("session.disable_prepacking", "1")
    with tempfile.TemporaryDirectory(prefix=".session-", dir=external_data.folder_of(model)) as folder:
        path = Path(folder).with_suffix(".onnx")
        external_data.write_graph(model, path)
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=PROVIDERS)
        finally:
            path.unlink()


def has_float8(model: "onnx.ModelProto | bytes") -> bool:
    """Tell whether a model holds E4M3 constants, as FP8 Q/DQ does."""
    import onnx

    graph = (onnx.load_model_from_string(model) if isinstance(model, bytes) else model).graph
    return any(tensor.data_type == tensor.FLOAT8E4M3FN for tensor in graph.initializer)


def own_threads() -> int:
    """Thread count for this process: the cores of its container, unless OMP_NUM_THREADS says otherwise."""
    return environment.threads(environment.Place(), os.environ, cpu_limit())


def version() -> str:
    """Version of ONNX Runtime."""
    import onnxruntime

    return str(onnxruntime.__version__)
