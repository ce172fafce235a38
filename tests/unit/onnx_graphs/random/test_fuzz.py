"""Random graphs: quantize refuses in words or builds, and what passes its gates is like the float model.

`SLIPWAY_FUZZ_GRAPHS` sets how many (`make fuzz-graphs`: 20,000); a few, always the same ones, otherwise.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.onnx_graphs.random import forked_load
from tests.unit.onnx_graphs.random.generator import graphs
from tests.unit.onnx_graphs.random.trial import CHEAP, tried
from workloads.quantize.graph import first_load

COUNT = int(os.environ.get("SLIPWAY_FUZZ_GRAPHS", "60"))
# In memory where there is room: a graph has dozens of small files, each of which a job forces to the disk.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
LADDERS = [*((rung,) for rung in CHEAP), CHEAP]


@pytest.mark.timeout(600 if COUNT < 1000 else 0)  # thousands take hours, and all of them are one test
@settings(
    max_examples=COUNT, deadline=None, database=None, derandomize=COUNT < 1000, suppress_health_check=list(HealthCheck)
)
@given(graphs(), st.booleans(), st.sampled_from(LADDERS))
def test_a_random_graph_is_refused_in_words_or_built(model: Any, external: bool, ladder: tuple[str, ...]) -> None:
    forked = mock.patch.object(first_load, "attempt", forked_load.attempt)
    with tempfile.TemporaryDirectory(prefix="slipway-fuzz-", dir=FOLDER) as folder, forked:
        tried(Path(folder), model, ladder, external=external)
