"""Domain of a node's operator: ONNX's own, ONNX Runtime's, or somebody's of the same name.

The library's tables know operators by name alone. `Attention` is its own (com.microsoft) there, and since opset 23 ONNX
has one too, with other inputs; a custom domain may have a `Conv`. Rewriting by name makes nodes that do not load.
"""

from typing import Any

ONNX = ("", "ai.onnx")
MICROSOFT = "com.microsoft"
# Operators of the library's tables that are com.microsoft's, whatever ONNX calls by the same name later.
CONTRIB = frozenset({"Attention", "EmbedLayerNormalization", "SkipLayerNormalization", "FusedMatMul", "FusedGemm"})


def known(node: Any) -> bool:
    """Tell whether a node is the operator that the library's quantizer means by its name."""
    domain: str = node.domain
    return domain == MICROSOFT if node.op_type in CONTRIB else domain in ONNX
