"""The fuzzer's own check: what is clipped in one sample is told from what is ruined, whatever a call takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.unit.onnx_graphs.graphs import model, value
from tests.unit.onnx_graphs.random.generator import feeds_of
from tests.unit.onnx_graphs.random.trial import SAMPLES, assert_like, tried

# Found by 20,000 graphs: the first sample that nobody has judged by lies far beyond those that were calibrated on.
PRODUCT = np.fromstring(
    """0.17279209 0.41080907 0.16521853 -0.6515786 0.45267794 0.22318728 -0.2684766 0.29055905 0.1822862 0.14706625
    0.014211121 0.2733565 -0.36822703 -0.08145498 -0.24105966 0.2994231 0.019861054 -0.14622837 -0.39095423 -0.12859613
    0.0040710904 -0.13780145 0.6470319 0.5033622""",
    np.float32,
    sep=" ",
)[:, None]


def one_by_one(factor: float = 1.0) -> Any:
    """x [1, 24] -> a branch of an If -> a convolution -> a normalisation -> one number, times `factor`."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["b"], "m"), helper.make_node("Relu", ["b"], ["a"])],
        "body",
        [],
        [value("a", [None, 1])],
    )
    nodes = [
        helper.make_node("If", ["yes"], ["c"], "choice", then_branch=body, else_branch=body),
        helper.make_node("Sub", ["c", "s"], ["d"], "shift"),
        helper.make_node("Reshape", ["d", "to"], ["e"], "picture"),
        helper.make_node("Conv", ["e", "k"], ["f"], "conv"),
        helper.make_node("BatchNormalization", ["f", "n1", "n1", "n2", "n3"], ["g"], "norm"),
        helper.make_node("Flatten", ["g"], ["y"], "flat"),
    ]
    weights = {
        "w": PRODUCT,
        "yes": np.array([True]),
        "s": np.array([[0.52655786]], np.float32),
        "to": np.array([-1, 1, 1, 1]),
        "k": np.array([[[[-0.7154365 * factor]]]], np.float32),
        "n1": np.array([-0.18501239], np.float32),
        "n2": np.array([0.1793867], np.float32),
        "n3": np.array([0.7], np.float32),
    }
    return model(nodes, [value("x", [1, 24])], [value("y", None)], weights, opset=11, ir_version=6)


def test_a_sample_that_is_clipped_among_others_is_no_failure_where_a_call_takes_one(tmp_path: Path) -> None:
    assert "built ['static-per-tensor-min-max']" in tried(tmp_path, one_by_one(), ("static-per-tensor",))


def test_what_is_ruined_is_seen_where_a_call_takes_one(tmp_path: Path) -> None:
    paths = [tmp_path / "given.onnx", tmp_path / "found.onnx"]
    for path, factor in zip(paths, (1.0, 4.0), strict=True):
        onnx.save(one_by_one(factor), path)
    feeds = feeds_of(one_by_one(), SAMPLES, 1)
    assert_like(paths[0], paths[0], feeds)
    with pytest.raises(AssertionError):
        assert_like(paths[0], paths[1], feeds)
