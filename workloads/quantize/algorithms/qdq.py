"""Rewriting of a float graph as a quantized one.

By ONNX Runtime's own rewriting, with our ranges; called for each candidate.
"""

import tempfile
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.quantization.settings import Exclusions
from workloads.errors import BadInput
from workloads.onnx import external_data
from workloads.quantize.algorithms import stored_weights
from workloads.quantize.algorithms.target import Profile
from workloads.quantize.algorithms.weight_only import narrow, weight_only_int8, weights_of
from workloads.quantize.calibration.observer import quantizable_op_types
from workloads.quantize.calibration.scale import Range
from workloads.quantize.graph import domains, walk
from workloads.quantize.graph.prepare import prepared
from workloads.quantize.graph.silence import silent

if TYPE_CHECKING:
    import onnx

# A rewriting that may find nothing to do.
Rewritten = Any

INT4_BLOCK = 32
OPSET_OF_INT4 = 21
INT8_PRODUCTS = 4  # accuracy_level of MatMulNBits: kernels that round the other operand to 8 bits, several times faster


def prepare(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Prepare a graph that came from here for rewriting; a stranger's goes through `graph.prepare`, with a proof."""
    return prepared(model, lambda _: True).model


def excluded_nodes(model: "onnx.ModelProto", exclude: Exclusions) -> list[str]:
    """Names of the nodes that the job wants to keep in float. BadInput for a pattern that names nothing."""
    names = [node.name for node in model.graph.node]
    present = {node.op_type for node in model.graph.node}
    for op_type in exclude.op_types:
        if op_type not in present:
            raise BadInput(f"exclude.opTypes: the model has no {op_type}; it has {', '.join(sorted(present))}")
    found = [node.name for node in model.graph.node if node.op_type in exclude.op_types]
    for pattern in exclude.nodes:
        matching = [name for name in names if fnmatchcase(name, pattern)]
        if not matching:
            raise BadInput(f"exclude.nodes: no node is named {pattern!r}; the first ones are {', '.join(names[:5])}")
        found += matching
    return list(dict.fromkeys(found))


def quantizable_nodes(model: "onnx.ModelProto", profile: Profile, excluded: Sequence[str]) -> list[str]:
    """Names of the nodes that a static candidate would quantize, in order of the graph."""
    known = quantizable_op_types() if profile.op_types is None else quantizable_op_types() & set(profile.op_types)
    kept = set(excluded)
    found = (node for node in model.graph.node if node.op_type in known and domains.known(node))
    return [node.name for node in found if node.name not in kept]


def static(
    model: "onnx.ModelProto",
    found: Mapping[str, Range],
    profile: Profile,
    nodes: Sequence[str],
    *,
    per_channel: bool,
    bits: int = 8,
) -> "onnx.ModelProto":
    """Explicit Q/DQ around `nodes`, with these ranges of the activations."""
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    options, found = dict(profile.options), _outputs_apart(copied, found)
    if bits < 8:
        options["TensorQuantOverrides"] = narrow(copied, bits, set(nodes), per_channel=per_channel)
    with tempfile.TemporaryDirectory(prefix="slipway-static-") as folder, silent():
        cache, output = Path(folder) / "ranges.json", Path(folder) / "quantized.onnx"
        _save_ranges(found, cache)
        rewritten = partial(
            quantize_static,
            model_output=output,
            calibration_data_reader=None,
            calibration_cache_path=cache,
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=profile.reduced_weights,
            activation_type=QuantType.QInt8 if profile.signed_activations else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(nodes),
            op_types_to_quantize=sorted(profile.op_types or quantizable_op_types()),
        )
        try:
            rewritten(copied, extra_options=dict(options))
        except ValueError:
            # 1.31 fails on some graphs where it widens the scales of weights whose bias would overflow: do without.
            rewritten(copied, extra_options={**options, "QDQDisableWeightAdjustForInt32Bias": True})
        return onnx.load(output)


def _outputs_apart(model: "onnx.ModelProto", found: Mapping[str, Range]) -> Mapping[str, Range]:
    """Give outputs that a Relu or Clip reads a node of their own, in place. Returns the ranges with the new tensors'.

    The library takes for what such a node reads the range of what it gives, since it fuses the two; it does not see
    that the tensor is an output, too, and cuts its negative half off.
    """
    from onnx import helper

    outputs, taken, ranges = {port.name: port for port in model.graph.output}, walk.names(model.graph), dict(found)
    cut = {node.input[0] for node in model.graph.node if node.op_type in {"Relu", "Clip"}} & outputs.keys()
    for name in [name for node in list(model.graph.node) for name in node.output if name in cut]:
        inner = walk.fresh(f"{name}_inner", taken)
        for each in walk.nodes(model.graph):
            for names in (each.input, each.output):
                for place, tensor in enumerate(names):
                    if tensor == name:
                        names[place] = inner
        model.graph.value_info.add().CopyFrom(outputs[name])
        model.graph.value_info[-1].name = inner
        model.graph.node.append(helper.make_node("Identity", [inner], [name], walk.fresh(f"{name}_output", taken)))
        if name in ranges:
            ranges[inner] = ranges[name]
    return ranges


def _save_ranges(found: Mapping[str, Range], path: Path) -> None:
    """Write the ranges as the library's calibration cache."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, TensorsData, save_tensors_data

    data = {
        name: TensorData(lowest=np.array(values.low, np.float32), highest=np.array(values.high, np.float32))
        for name, values in found.items()
    }
    # The ranges are final numbers whatever found them; the library's word for that is MinMax.
    save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), path)


DYNAMIC = frozenset({"MatMul", "Gemm", "Attention", "LSTM", "EmbedLayerNormalization"})


def dynamic_nodes(model: "onnx.ModelProto", excluded: Sequence[str]) -> list[str]:
    """Names of the nodes that a dynamic candidate would quantize.

    Without convolutions: ONNX Runtime's ConvInteger is several times slower than its float convolution.
    """
    kept = set(excluded)
    found = [node.name for node in model.graph.node if node.op_type in DYNAMIC and domains.known(node)]
    # What the library leaves is stored small beside them: a model's table of embeddings may be most of its file.
    stored = [name for name in stored_weights.holders(model) if name not in found]
    products = [name for name in found if name not in kept]
    return products + [name for name in stored if name not in kept] if products else []


def dynamic(model: "onnx.ModelProto", profile: Profile, nodes: Sequence[str]) -> "onnx.ModelProto":
    """Int8 weights of these nodes; the activations' ranges are taken anew in each call."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    copied = onnx.ModelProto()
    copied.CopyFrom(model)  # the library transposes weights in place
    with tempfile.TemporaryDirectory(prefix="slipway-dynamic-") as folder, silent():
        output = Path(folder) / "quantized.onnx"
        quantize_dynamic(
            copied,
            output,
            op_types_to_quantize=sorted(DYNAMIC - {"Gemm"} | {"MatMul"}),
            per_channel=True,
            reduce_range=profile.reduced_weights,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=_as_products(nodes),
        )
        made = onnx.load(output)
    floats = {node.name for node in made.graph.node if node.op_type != "DynamicQuantizeLSTM"}
    stored_weights.store(made, floats & set(nodes))
    return made


def _as_products(nodes: Sequence[str]) -> list[str]:
    """Names of the nodes, and of the MatMuls of Gemms: the library makes these before it looks at the names."""
    return [name for node in nodes for name in (node, f"{node}_MatMul")]


def packable_nodes(model: "onnx.ModelProto", excluded: Sequence[str]) -> list[str]:
    """Names of the nodes with constant float weights that a weight-only candidate would pack."""
    kept = set(excluded)
    readers = {weight.tensor.name for weight in weights_of(model)}
    found = (node for node in model.graph.node if len(node.input) > 1 and node.input[1] in readers)
    names = [node.name for node in found if domains.known(node)]
    return [name for name in dict.fromkeys([*names, *stored_weights.holders(model)]) if name not in kept]


def weight_only(model: "onnx.ModelProto", bits: int, nodes: Sequence[str]) -> "onnx.ModelProto | None":
    """Small weights under float arithmetic: int8 per channel, or int4 in blocks. None when there is nothing to pack."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    if bits == 8:
        count = weight_only_int8(copied, set(nodes)) + stored_weights.store(copied, set(nodes))
        return copied if count else None
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    with silent():
        # It knows MatMul only.
        ONNXModel(copied).replace_gemm_with_matmul()
        wanted = set(_as_products(nodes))
        kept = [node.name for node in walk.nodes(copied.graph) if node.name not in wanted]
        quantizer = MatMulNBitsQuantizer(
            copied,
            bits=bits,
            block_size=INT4_BLOCK,
            is_symmetric=True,
            accuracy_level=INT8_PRODUCTS,
            nodes_to_exclude=kept,
        )
        quantizer.process()
    packed: onnx.ModelProto = quantizer.model.model
    return packed if any(node.op_type == "MatMulNBits" for node in packed.graph.node) else None


def weight_only_mixed(model: "onnx.ModelProto", four: Sequence[str], eight: Sequence[str]) -> "onnx.ModelProto | None":
    """Int4 weights of the nodes `four`, int8 ones of `eight`, in one model. None when there is nothing to pack."""
    import onnx

    made = weight_only(model, 4, four) if four else None
    if made is None:
        made = onnx.ModelProto()
        made.CopyFrom(model)
    # For int4 the library makes a MatMul of each Gemm, of those that keep 8 bits, too.
    count = weight_only_int8(made, set(_as_products(eight))) + stored_weights.store(made, set(eight))
    return made if count or any(node.op_type == "MatMulNBits" for node in made.graph.node) else None


def weight_only_outside(model: "onnx.ModelProto", nodes: Sequence[str], data: Path) -> "onnx.ModelProto | None":
    """`weight_only` of 8 bits for a model whose constants are in files: read one by one, and written to `data`."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    writer = external_data.Writer(data)
    count = weight_only_int8(copied, set(nodes), writer)
    for tensor in copied.graph.initializer:
        if tensor.data_location == tensor.EXTERNAL and external_data.file_of(tensor) != data.resolve():
            writer.place(tensor, external_data.parts(tensor))
    writer.close()
    return copied if count else None


def operators(model: Any) -> dict[str, int]:
    """Number of nodes of each operator."""
    counts: dict[str, int] = {}
    for node in model.graph.node:
        counts[node.op_type] = counts.get(node.op_type, 0) + 1
    return counts
