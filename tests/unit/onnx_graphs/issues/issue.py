"""Graphs of public issues of ONNX Runtime's quantization, NNCF, Optimum, Olive and neural-compressor, in least form.

Each stopped one of these tools, or made it answer wrong. Here a job ends, every rung that applies builds a candidate or
says in words why not, and what is built answers as the float model does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.unit.onnx_graphs.graphs import built, quantize

LADDER = ["static-per-tensor", "static-per-channel", "dynamic", "weight-only-int8"]
LEAST_DB = 15.0
Build = Callable[[], Any]


@dataclass
class Issues:
    """Graphs by name, each with its samples and the number of rungs that must build a candidate."""

    graphs: dict[str, tuple[Build, dict[str, Any], int]] = field(default_factory=dict)
    slow: set[str] = field(default_factory=set)

    def __call__(self, name: str, feeds: dict[str, Any], least: int, *, slow: bool = False) -> Callable[[Build], Build]:
        """Register a graph; `slow`: one that this quantizer has never had trouble with."""

        def register(build: Build) -> Build:
            self.graphs[name] = build, feeds, least
            self.slow |= {name} if slow else set()
            return build

        return register

    def cases(self) -> list[Any]:
        """Parameters of a test."""
        return [pytest.param(name, marks=pytest.mark.slow if name in self.slow else ()) for name in self.graphs]

    def check(self, folder: Path, name: str) -> None:
        """Run a job over a graph, and hold all candidates against the float model."""
        build, feeds, least = self.graphs[name]
        evaluation = {"uri": (folder / "data.npz").as_uri(), "metric": "agreement", "task": "closeness"}
        found = quantize(folder, build(), feeds, LADDER, evaluation=evaluation)
        rows = built(found)
        assert len(rows) >= least, found.comparison
        noise = {row.name: row.sqnr_db for row in rows.values()}
        assert not {name: decibel for name, decibel in noise.items() if decibel is not None and decibel < LEAST_DB}
        assert all(row.message for row in found.comparison if row.name not in {"float", *rows})
