"""SmoothQuant: moves the difficulty of quantization from the channels of the activations to those of the weights.

SmoothQuant (Xiao et al. 2023, equation 4): channel j of a product's input is divided by
s_j = max|x_j|^alpha / max|w_j|^(1 - alpha), and its row of the weights multiplied by it: the same product, with
outlying channels of the input made small. The division is folded into a layer normalisation when nothing else reads
it, and is a node of its own otherwise.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.quantize.calibration.observer import Observer

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

    Reals = npt.NDArray[np.float64]
    Peaks = dict[str, Reals]

ALPHAS = (0.5, 0.75)  # the paper's, for most models and for those with strong outliers
SUFFIX = "_smoothed"


@dataclass(frozen=True)
class Product:
    """A matrix product with constant weights [inputs, outputs], or [outputs, inputs] when `transposed`."""

    node: Any
    weight: Any
    transposed: bool


def products_of(model: "onnx.ModelProto", nodes: Collection[str]) -> dict[str, list[Product]]:
    """The products among `nodes`, by the tensor that they read."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == tensor.FLOAT}
    found: dict[str, list[Product]] = {}
    for node in model.graph.node:
        if node.name not in nodes or node.op_type not in {"MatMul", "Gemm"} or node.input[0] in constants:
            continue
        flags = {attribute.name: attribute.i for attribute in node.attribute}
        weight = constants.get(node.input[1])
        if weight is not None and len(weight.dims) == 2 and not flags.get("transA"):
            found.setdefault(node.input[0], []).append(Product(node, weight, bool(flags.get("transB"))))
    return found


def peaks_of(
    model: "onnx.ModelProto", wanted: Collection[str], batches: Iterable[Mapping[str, "npt.NDArray[Any]"]]
) -> "Peaks":
    """Largest magnitude [channels] that each of these tensors takes, over all samples and positions."""
    observer, peaks = Observer(model, wanted), dict[str, Any]()
    for feeds in batches:
        for name, value in observer.values(feeds).items():
            highest = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0).astype(np.float64)
            peaks[name] = np.maximum(peaks.get(name, 0.0), highest)
    return peaks


def smoothed(
    model: "onnx.ModelProto", peaks: "Peaks", nodes: Collection[str], alpha: float
) -> tuple["onnx.ModelProto", list[str]]:
    """The same function with smoothed products, and the names of the tensors whose values are others now."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    changed = []
    for name, products in products_of(copied, nodes).items():
        if name not in peaks:
            continue
        factors = factors_of(peaks[name], products, alpha)
        for product in products:
            _multiply(copied, product, factors)
        changed.append(name if _folded(copied, name, products, factors) else _divided(copied, name, products, factors))
    _drop_unread(copied)
    return copied, changed


def factors_of(peak: "Reals", products: list[Product], alpha: float) -> "Reals":
    """Smoothing factors s [channels]; 1 for a channel that is always zero on either side."""
    from onnx import numpy_helper

    weights = [numpy_helper.to_array(product.weight).astype(np.float64) for product in products]
    rows = [w.T if product.transposed else w for w, product in zip(weights, products, strict=True)]
    largest = np.max([np.abs(row).max(axis=1) for row in rows], axis=0)
    used = (peak > 0) & (largest > 0)
    result: Reals = np.where(used, peak, 1.0) ** alpha / np.where(used, largest, 1.0) ** (1 - alpha)
    return np.where(used, np.clip(result, 1e-5, 1e5), 1.0)


def _multiply(model: "onnx.ModelProto", product: Product, factors: "Reals") -> None:
    from onnx import numpy_helper

    values = numpy_helper.to_array(product.weight).astype(np.float64)
    scaled = values * (factors[None, :] if product.transposed else factors[:, None])
    product.node.input[1] = _constant(model, f"{product.node.name}_weight{SUFFIX}", scaled)


def _constant(model: "onnx.ModelProto", name: str, values: "Reals") -> str:
    """A new constant, since the old one may have other readers."""
    from onnx import numpy_helper

    model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return name


def _drop_unread(model: "onnx.ModelProto") -> None:
    """Drop weights that nobody reads any more; they would be stored all the same."""
    read = {*_read(model.graph), *(value.name for value in model.graph.output)}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _read(graph: Any) -> Iterator[str]:
    """Names that the nodes of a graph read, those of its branches and loops too."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from _read(inner)


def _folded(model: "onnx.ModelProto", name: str, products: list[Product], factors: "Reals") -> bool:
    """Divide in the layer normalisation that makes the tensor, if that is all it is read for."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    maker = next((node for node in model.graph.node if name in node.output), None)
    readers = sum(list(node.input).count(name) for node in model.graph.node)
    outside = any(value.name == name for value in model.graph.output)
    if maker is None or maker.op_type != "LayerNormalization" or readers != len(products) or outside:
        return False
    if any(parameter not in constants for parameter in maker.input[1:]):
        return False
    for index in range(1, len(maker.input)):
        values = numpy_helper.to_array(constants[maker.input[index]]).astype(np.float64)
        if values.shape != factors.shape:
            return False
        maker.input[index] = _constant(model, f"{maker.name}_{index}{SUFFIX}", values / factors)
    return True


def _divided(model: "onnx.ModelProto", name: str, products: list[Product], factors: "Reals") -> str:
    """Divide in a node before the products. Returns the name of what it gives."""
    from onnx import helper

    result = f"{name}{SUFFIX}"
    inverse = _constant(model, f"{name}_inverse{SUFFIX}", 1 / factors)
    node = helper.make_node("Mul", [name, inverse], [result], f"{name}_divide{SUFFIX}")
    first = min(list(model.graph.node).index(product.node) for product in products)
    for product in products:
        product.node.input[0] = result
    model.graph.node.insert(first, node)
    return result
