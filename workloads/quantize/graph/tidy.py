"""Spelling of a graph: what says the same in several ways is written in the one that ONNX Runtime takes.

Exporters leave nodes without a name or give several the same, write an optional input at the end as an empty name, and
a free axis as a length of -1. The library refuses the first, and 1.31 ends the process for the second where it belongs
to a LayerNormalization.
"""

from typing import TYPE_CHECKING

from workloads.quantize.graph import axes, walk

if TYPE_CHECKING:
    import onnx


def tidy(model: "onnx.ModelProto") -> None:
    """Name all nodes, drop empty inputs at an end, turn lengths of 0 or less into free axes.

    In place, and the same function.
    """
    name_nodes(model)
    axes.name_free(model)
    bodies = (node for function in model.functions for node in function.node)
    for node in (*walk.nodes(model.graph), *bodies):
        while node.input and not node.input[-1]:
            del node.input[-1]


def name_nodes(model: "onnx.ModelProto") -> None:
    """Give every node a name of its own: rewriting, exclusions and reports go by names, and ONNX Runtime refuses two.

    Bodies of If, Loop and Scan too; a name that is one already stays as it is.
    """
    taken = walk.names(model.graph)
    for graph in walk.graphs(model.graph):
        seen: set[str] = set()
        for index, node in enumerate(graph.node):
            if not node.name or node.name in seen:
                node.name = walk.fresh(node.name or f"{node.op_type}_{index}", taken)
            seen.add(node.name)
