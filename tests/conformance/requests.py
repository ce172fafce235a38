"""Requests that the tests of REST share."""

from __future__ import annotations

INPUT = {"name": "INPUT0", "shape": [1, 16], "datatype": "INT32", "data": list(range(16))}
OTHER = {"name": "INPUT1", "shape": [1, 16], "datatype": "INT32", "data": [1] * 16}
GOOD = {"inputs": [INPUT, OTHER]}


def given(name: str = "x", datatype: str = "FP32", shape=(1, 2), **rest):
    return {"inputs": [{"name": name, "datatype": datatype, "shape": list(shape), **rest}]}
