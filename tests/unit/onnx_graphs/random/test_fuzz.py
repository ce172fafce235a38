"""Random graphs: quantize refuses in words or builds, and what passes its gates is like the float model.

`SLIPWAY_FUZZ_GRAPHS` sets how many (`make fuzz-graphs`: 20,000), `SLIPWAY_FUZZ_SEED` which; 250, always the same ones,
otherwise. In parts, so that several processes of pytest share them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.unit.onnx_graphs.random import other_process
from tests.unit.onnx_graphs.random.generator import graphs
from tests.unit.onnx_graphs.random.trial import CHEAP, tried
from workloads.quantize.batches import budget
from workloads.quantize.graph import first_load

COUNT, SEED = int(os.environ.get("SLIPWAY_FUZZ_GRAPHS", "250")), int(os.environ.get("SLIPWAY_FUZZ_SEED", "0"))
PARTS = max(5, COUNT // 500)
# In memory where there is room: a graph has dozens of small files, each of which a job forces to the disk.
FOLDER = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
LADDERS = [*((rung,) for rung in CHEAP), CHEAP]


@pytest.mark.timeout(600 if COUNT < 1000 else 0)
@pytest.mark.parametrize("part", range(PARTS))
def test_a_random_graph_is_refused_in_words_or_built(part: int, monkeypatch: Any) -> None:
    # A pool of threads for each session of a graph of ten nodes costs more than the graph.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    @seed(SEED * 100_000 + part)
    @settings(
        max_examples=COUNT // PARTS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(graphs(), st.booleans(), st.sampled_from(LADDERS))
    def examples(model: Any, external: bool, ladder: tuple[str, ...]) -> None:
        try:
            tried(folder, model, ladder, external=external)
        finally:  # what a graph that failed has left is no other graph's
            for each in list(folder.iterdir()):
                shutil.rmtree(each) if each.is_dir() else each.unlink()

    loads = mock.patch.object(first_load, "attempt", other_process.attempt)
    # Graphs of kilobytes: their calls need no measure of memory, which walks through all pages of this process.
    sizes = mock.patch.object(budget, "measured", lambda model, samples, chosen, most, limit: most)
    with tempfile.TemporaryDirectory(prefix="slipway-fuzz-", dir=FOLDER) as name, loads, sizes:
        folder = Path(name)
        examples()
