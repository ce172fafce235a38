"""Nodes, constants and names of an ONNX graph, those of its subgraphs (If, Loop, Scan) included."""

from collections.abc import Iterator
from typing import Any


def subgraphs(node: Any) -> Iterator[Any]:
    """Bodies of a node's If, Loop or Scan."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs(graph: Any) -> Iterator[Any]:
    """The graph, and all below it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def nodes(graph: Any) -> Iterator[Any]:
    """Every node, in order of the graph, bodies after the node that holds them."""
    for each in graphs(graph):
        yield from each.node


def names(graph: Any) -> set[str]:
    """Every name that a tensor or node has: a new one must be none of them, in bodies neither."""
    taken: set[str] = set()
    for each in graphs(graph):
        taken.update(tensor.name for tensor in each.initializer)
        taken.update(tensor.values.name for tensor in each.sparse_initializer)
        taken.update(value.name for value in (*each.input, *each.output, *each.value_info))
        for node in each.node:
            taken.update((node.name, *node.input, *node.output))
    return taken


def fresh(wanted: str, taken: set[str]) -> str:
    """A name that nobody has, `wanted` if it is free; taken from now on."""
    name, number = wanted, 0
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name


def uses(graph: Any) -> dict[str, int]:
    """Number of times each tensor is read, by nodes of bodies too, or given as an output."""
    count: dict[str, int] = {}
    for each in graphs(graph):
        for name in [name for node in each.node for name in node.input] + [value.name for value in each.output]:
            count[name] = count.get(name, 0) + 1
    return count


def attribute(node: Any, name: str, default: Any) -> Any:
    """An attribute's value, or what the operator's definition takes when it is not there."""
    from onnx import helper

    found = next((each for each in node.attribute if each.name == name), None)
    return default if found is None else helper.get_attribute_value(found)
