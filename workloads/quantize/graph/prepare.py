"""Preparation of a float graph for rewriting, and the proof that it is the same function.

Constants and batch normalisations are folded, shapes inferred, nodes named, old opsets converted, 16-bit floats
widened, Gemm's factors folded, local functions inlined. Each of these has been wrong for some graph in some library's
version: so the answers before and after are compared on samples, and a step that changes them is done without.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.errors import BadInput
from workloads.onnx import external_data
from workloads.quantize.graph import gemm, opset, sparse, walk, widen
from workloads.quantize.graph.silence import silent
from workloads.quantize.graph.tidy import name_nodes

if TYPE_CHECKING:
    import onnx

Same = Callable[["onnx.ModelProto"], bool]
# Inputs that are weights, by operator: infinity is no fault in a mask, or in a bias that shuts classes out.
WEIGHTS = {"Conv": (1,), "ConvTranspose": (1,), "Gemm": (0, 1), "MatMul": (0, 1)} | dict.fromkeys(
    ("LSTM", "GRU", "RNN"), (1, 2)
)


@dataclass
class Prepared:
    """The graph to rewrite; `remarks` tells people what was converted, `floats` names nodes that must stay in float."""

    model: "onnx.ModelProto"
    remarks: list[str] = field(default_factory=list)
    floats: list[str] = field(default_factory=list)


def prepared(model: "onnx.ModelProto", same: Same) -> Prepared:
    """The model in the form that rewriting needs. `same` tells whether a model computes what the given one does.

    BadInput for an opset that cannot be converted.
    """
    result = Prepared(_inlined(model))
    _constant_inputs(result.model)
    sparse.densify(result.model)
    if kind := widen.narrow_type(result.model):
        if external_data.held(result.model):
            raise BadInput(
                f"a model over 2 GB with weights of {kind}: quantization reads float32; export it in float32"
            )
        widen.widen(result.model)
        result.remarks.append(f"weights of {kind} are quantized from float32; sizes are compared with the {kind} file")
    if opset.version(result.model) < opset.LEAST:
        words, result.model = _converted(result.model, same)
        result.remarks.append(words)
    if external_data.held(result.model):
        name_nodes(result.model)
        result.remarks.append("a model over 2 GB is quantized as it is: nothing is folded before")
        return result
    simple = next((found for found in _simplified(result.model) if same(found)), None)
    if simple is None:
        raise BadInput("the model's answers are not the same twice, or change in a copy of its graph: export it anew")
    result.model = simple
    name_nodes(result.model)
    result.floats = gemm.fold(result.model)
    return result


def _inlined(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """A copy without local functions, whose bodies no rewriting looks into."""
    import onnx
    import onnx.inliner

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return onnx.inliner.inline_local_functions(copied) if copied.functions else copied


def _constant_inputs(model: "onnx.ModelProto") -> None:
    """Remove constants from the inputs, where files of IR 3 have all of them.

    Nobody gives them, and they defeat folding.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    kept = [value for value in model.graph.input if value.name not in constants]
    if len(kept) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(kept)
        model.ir_version = max(model.ir_version, 4)  # 3 wants every constant to be an input


def _converted(model: "onnx.ModelProto", same: Same) -> "tuple[str, onnx.ModelProto]":
    for words, converted in opset.conversions(model):
        _constant_inputs(converted)
        if same(converted):
            return words, converted
    raise BadInput(
        f"opset {opset.version(model)}: quantization needs {opset.LEAST}, and the conversion fails or changes the "
        "model's answers: export it anew with a newer opset"
    )


def _simplified(model: "onnx.ModelProto") -> "Iterator[onnx.ModelProto]":
    """Models by the library's preparation, then by less and less of it."""
    for optimise in (True, False):
        try:
            yield _preprocessed(model, optimise=optimise)
        except Exception:  # noqa: S112 (the library fails on good graphs in a dozen ways; less of it is tried)
            continue
    yield model


def _preprocessed(model: "onnx.ModelProto", *, optimise: bool) -> "onnx.ModelProto":
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="slipway-prepare-") as folder, silent():
        given, path = Path(folder) / "given.onnx", Path(folder) / "prepared.onnx"
        given.write_bytes(model.SerializeToString())
        # From a file: given a model in memory, 1.31 takes its weights away and then misses them.
        # Types are what is needed, and ONNX's own inference finds them; the symbolic one fails on some good graphs.
        quant_pre_process(given, path, skip_symbolic_shape=True, skip_optimization=not optimise)
        found = onnx.load(path)
    # The library transposes weights, and would trip over notes of their old shapes.
    constants = {tensor.name for tensor in found.graph.initializer}
    noted = [value for value in found.graph.value_info if value.name not in constants]
    del found.graph.value_info[:]
    found.graph.value_info.extend(noted)
    return found


def require_float(model: "onnx.ModelProto", name: str) -> None:
    """BadInput for what quantization cannot begin with: a quantized model, weights that are no numbers."""
    from workloads.quantize.graph import integers

    if already := integers.operators(model):
        raise BadInput(f"{name}: the model is quantized already ({', '.join(already[:4])}): give the float model")
    if bad := _not_numbers(model):
        raise BadInput(f"{name}: the weight {bad}: the training diverged, or the file is damaged")


def _not_numbers(model: Any) -> str:
    """First constant that holds NaN, or weight that holds infinity, with the word for it; empty when there is none."""
    import numpy as np
    from onnx import TensorProto

    floats = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
    read = {
        node.input[place]
        for node in walk.nodes(model.graph)
        for place in WEIGHTS.get(node.op_type, ())
        if place < len(node.input)
    }
    for name, tensor in _constants(model):
        if tensor.data_type not in floats:
            continue
        for part in external_data.parts(tensor):
            if np.isnan(part).any():
                return f"{name} holds NaN"
            if name in read and np.isinf(part).any():
                return f"{name} holds infinity"
    return ""


def _constants(model: Any) -> Iterator[tuple[str, Any]]:
    """Constants by name, wherever exporters keep them: initializers and nodes Constant, of bodies too."""
    for graph in walk.graphs(model.graph):
        yield from ((str(tensor.name), tensor) for tensor in graph.initializer)
        for node in graph.node:
            value = next((each.t for each in node.attribute if each.name == "value" and each.HasField("t")), None)
            if node.op_type == "Constant" and value is not None:
                yield str(node.output[0]), value
