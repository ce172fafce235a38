"""Kernels that an engine really ran for a model: time, FLOPs and bytes of each, and the nodes that it stands for.

ONNX Runtime tells by its profile and the graph that it optimised, OpenVINO (whose CPU kernels are mostly oneDNN's) by
its runtime model. On one thread; of a few calls ONNX Runtime's fastest, OpenVINO's last.
"""

import json
import math
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput
from workloads.onnx import exact_kernels, external_data, file, saturation, session
from workloads.onnx.node_flops import RULES

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Array = npt.NDArray[Any]

CALLS, WARMUP = 15, 3
INTEGERS = ("QLinear", "QGemm", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul", "QAttention")
# Of nodes that were given another name: a layout's, or a copy's.
ENDING = re.compile(r"_nchwc$|_nhwc$|_token_\d+$")
PLAIN = frozenset({"QuantizeLinear", "DequantizeLinear", "Constant", "Identity", "Cast"})


@dataclass(frozen=True)
class Kernel:
    """One kernel. `flops`: None where not known; `moved`: bytes in, out and of weights; `nodes`: those of the file."""

    name: str
    op: str
    seconds: float
    flops: int | None
    moved: int
    nodes: tuple[str, ...] = ()
    fusion: str = ""

    @property
    def integer(self) -> bool:
        """Tell whether it multiplies integers."""
        return self.op.startswith(INTEGERS)


def of_onnx_runtime(path: Path, inputs: "Sequence[Array] | Mapping[str, Array]") -> list[Kernel]:
    """Kernels of ONNX Runtime on its CPU provider, in the order in which they ran. BadInput for a model over 2 GB.

    `inputs` in the model's order, or by name.
    """
    import onnx
    import onnxruntime

    given = file.load(path)
    if external_data.held(given):
        raise BadInput(f"{path.name}: a model over 2 GB is not profiled")
    with tempfile.TemporaryDirectory(prefix="slipway-kernels-") as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = session.FATAL
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        served = exact_kernels.apart(given) if saturation.options(options, given) else given
        opened = onnxruntime.InferenceSession(served.SerializeToString(), options, providers=session.PROVIDERS)
        names = [port.name for port in opened.get_inputs()]
        feeds = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        for _ in range(WARMUP + CALLS):
            opened.run(None, feeds)
        events = json.loads(Path(opened.end_profiling()).read_text())
        optimised = onnx.load(Path(folder) / "optimised.onnx")
    return _kernels(given, optimised, events)


def _kernels(
    given: "onnx.ModelProto", optimised: "onnx.ModelProto", events: Sequence[Mapping[str, Any]]
) -> list[Kernel]:
    seen: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith("_kernel_time"):
            seen[name.removesuffix("_kernel_time")].append(event)
    constants = {tensor.name: tensor for tensor in optimised.graph.initializer}
    groups, found = _groups(given, optimised), []
    for node in optimised.graph.node:
        calls = seen.get(node.name, [])[WARMUP:]
        if not calls:
            continue
        about = calls[0]["args"]
        weights = sum(_bytes(constants[name]) for name in set(node.input) if name in constants)
        moved = weights + sum(int(about.get(size, 0)) for size in ("activation_size", "output_size"))
        seconds = float(min(call["dur"] for call in calls)) / 1e6
        nodes = groups.get(node.name, ())
        found.append(
            Kernel(node.name, node.op_type, seconds, _flops(node, about, constants), moved, *_fusion(given, nodes))
        )
    return found


def _bytes(tensor: Any) -> int:
    from onnx import helper

    elements = math.prod(int(length) for length in tensor.dims)
    return elements * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _flops(node: Any, about: Mapping[str, Any], constants: Mapping[str, Any]) -> int | None:
    """Operations by the shapes of this run; a packed weight has none there, and its own in the graph."""
    op = node.op_type.removeprefix("Fused")
    if op not in RULES:
        return None
    places, rule = RULES[op]
    shapes = [tuple(next(iter(shape.values()))) for shape in about["input_type_shape"]]
    try:
        operands = [
            tuple(constants[name].dims) if (name := node.input[place]) in constants else shapes[place]
            for place in places
        ]
        return rule(tuple(next(iter(about["output_type_shape"][0].values()))), *operands)
    except (IndexError, StopIteration, ZeroDivisionError):
        return None


def _groups(given: "onnx.ModelProto", optimised: "onnx.ModelProto") -> dict[str, tuple[str, ...]]:
    """Names of the file's nodes that each optimised node computes: from its output back to what others give."""
    producer = {name: node for node in given.graph.node for name in node.output if name}
    quantized = {node.input[0]: node.output[0] for node in given.graph.node if node.op_type == "QuantizeLinear"}
    names = {node.name: quantized.get(node.output[0], node.output[0]) for node in given.graph.node if node.output}
    ends = {node.name: _end(node, producer, names) for node in optimised.graph.node}
    known = {name for name in ends.values() if name}
    groups: dict[str, tuple[str, ...]] = {}
    for kernel, end in ends.items():
        stack, members = [end] if end else [], dict[str, Any]()
        while stack:
            node = producer.get(stack.pop())
            if node is None or node.name in members:
                continue
            members[node.name] = node
            stack += [name for name in node.input if name not in known]
        groups[kernel] = tuple(reversed(members))
    return groups


def _end(node: Any, producer: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """The tensor of the file that an optimised node gives; empty where its names tell none.

    `names`: what each node of the file gives, with the quantization behind it. Fused nodes keep a tensor's or a node's
    name, some with an ending.
    """
    for name in (*node.output, node.name):
        plain = ENDING.sub("", name)
        if plain in producer:
            return plain
    return names.get(ENDING.sub("", node.name), "")


def _fusion(given: "onnx.ModelProto", nodes: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The nodes that compute something, and how they came together: one after the other, or side by side."""
    by_name = {node.name: node for node in given.graph.node}
    real = [by_name[name] for name in nodes if name in by_name and by_name[name].op_type not in PLAIN]
    inner = {name for node in real for name in node.output}
    heads = [node for node in real if not inner & set(node.input)]
    kind = "" if len(real) < 2 else "horizontal" if len(heads) > 1 else "vertical"
    return tuple(f"{node.op_type} {node.name}" for node in real), kind


def of_openvino(path: Path, inputs: "Sequence[Array]") -> list[Kernel]:
    """Kernels of OpenVINO's CPU plugin; its FLOPs and bytes are not told."""
    import openvino

    settings = {"PERF_COUNT": "YES", "INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    for _ in range(WARMUP + CALLS):
        request.infer(list(inputs))
    found = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {key: _word(value) for key, value in node.get_rt_info().items()}
        if not told.get("execTimeMcs", "").isdigit():
            continue
        nodes = tuple(name for name in told.get("originalLayersNames", "").split(",") if name)
        seconds = int(told["execTimeMcs"]) / 1e6
        kind = "vertical" if len(nodes) > 1 else ""
        name = node.get_friendly_name()
        found.append(
            Kernel(name, f"{told.get('layerType')} {told.get('primitiveType')}", seconds, None, 0, nodes, kind)
        )
    return found


def _word(value: Any) -> str:
    return str(value.astype(str) if hasattr(value, "astype") else value)
