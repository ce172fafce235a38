"""Sparse constants: their readers are quantized like others, wherever and however the zeros were left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

from tests.unit.onnx_graphs.graphs import SAMPLES, built, model, quantize, random, value
from workloads.quantize.graph.sparse import densify

WEIGHT = np.where(random(16, 32, seed=3) > 0.8, random(16, 32, seed=4), 0).astype(np.float32)


def sparse(name: str, dense: Any, *, by_axis: bool) -> Any:
    places = np.argwhere(dense) if by_axis else np.flatnonzero(dense)
    values = numpy_helper.from_array(dense[dense != 0], name)
    indices = numpy_helper.from_array(places.astype(np.int64), f"{name}_places")
    return helper.make_sparse_tensor(values, indices, dense.shape)


@pytest.mark.parametrize("by_axis", [False, True])
def test_they_are_what_they_were(by_axis: bool) -> None:
    graph = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [value("x", ["n", 16])], [value("y", None)], {})
    graph.graph.sparse_initializer.append(sparse("w", WEIGHT, by_axis=by_axis))
    body = helper.make_graph([], "body", [], [])
    body.sparse_initializer.append(sparse("inner", WEIGHT[:1], by_axis=by_axis))
    graph.graph.node.append(
        helper.make_node("If", ["c"], [], then_branch=body, else_branch=helper.make_graph([], "e", [], []))
    )
    densify(graph)
    assert not graph.graph.sparse_initializer
    (found,) = graph.graph.initializer
    assert found.name == "w"
    np.testing.assert_array_equal(numpy_helper.to_array(found), WEIGHT)
    (inner,) = graph.graph.node[-1].attribute[-1].g.initializer or graph.graph.node[-1].attribute[0].g.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(inner), WEIGHT[:1])


def test_they_do_not_switch_a_rung_off(tmp_path: Path) -> None:
    """The words were "Graph is not a DAG", of every static candidate."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "v"], ["y"], "second"),
    ]
    graph = model(nodes, [value("x", ["n", 16])], [value("y", ["n", 4])], {"v": random(32, 4, seed=2)})
    graph.graph.sparse_initializer.append(sparse("w", WEIGHT, by_axis=False))
    rungs = ["static-per-tensor", "dynamic", "weight-only-int8"]
    found = quantize(tmp_path, graph, {"x": random(SAMPLES, 16)}, rungs)
    assert len(built(found)) == 3
    assert all(row.sqnr_db is not None and row.sqnr_db > 20 for row in built(found).values())
