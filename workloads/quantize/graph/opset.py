"""Opset conversion of old models: per-axis QuantizeLinear came with opset 13, and exporters wrote 7 to 12 for years.

Two ways: ONNX's own converter; and, where that fails (subgraphs, other domains, shapes that it cannot infer), the
number alone, which is right for operators that only took more types in between. Neither is believed: whoever calls
compares the answers, so that an operator whose meaning changed (Softmax's default axis, say) is noticed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workloads.quantize.graph.domains import ONNX

if TYPE_CHECKING:
    import onnx

LEAST = 13
TARGETS = (13, 17, 15, 21)


def version(model: "onnx.ModelProto") -> int:
    """Version of ONNX's own operators."""
    return max((entry.version for entry in model.opset_import if entry.domain in ONNX), default=0)


def conversions(model: "onnx.ModelProto") -> "Iterator[tuple[str, onnx.ModelProto]]":
    """Models of a newer opset that ought to be the same function, each with words on how it was made."""
    import onnx
    from onnx import version_converter

    was = version(model)
    for target in TARGETS:
        try:
            converted = version_converter.convert_version(model, target)
        except Exception:  # noqa: S112 (a C++ library's; the next way is tried, and whoever calls says that none did)
            continue
        yield f"opset {was} converted to {target} by onnx.version_converter", converted
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for entry in copied.opset_import:
        if entry.domain in ONNX:
            entry.version = LEAST
    try:
        onnx.checker.check_model(copied)
    except onnx.checker.ValidationError:
        return
    yield f"opset {was} read as {LEAST}, which changes none of the model's operators", copied
