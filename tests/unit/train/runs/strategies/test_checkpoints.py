"""A checkpoint belongs to no strategy and no number of processes: whoever goes on ends where the undisturbed did."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.unit.train.runs.runs import checkpoints, history, installed, run, weights
from tests.unit.train.runs.strategies.test_equivalence import agree, long

EPOCHS = 3  # of ten steps; saved every five


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder, "single", 1, epochs=EPOCHS)
    return folder


def go_on(undisturbed: Path, folder: Path, before: tuple[str, int], after: tuple[str, int]) -> str:
    """The first half under one strategy, the rest under another."""
    run(folder, *before, epochs=EPOCHS)
    shutil.rmtree(folder / "model")
    for late in checkpoints(folder):
        if int(late.name[5:]) > 25:
            shutil.rmtree(late)
    output = run(folder, *after, epochs=EPOCHS)
    assert "resumed from step 25" in output
    agree(undisturbed, folder, 2e-3)
    return output


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("fsdp2", 2), ("single", 1)),
        pytest.param(("zero-3-cpu", 2), ("ddp", 2), marks=pytest.mark.slow),
        (("single", 1), ("zero-2", 2)),
        pytest.param(("zero-2", 2), ("zero-3", 1), marks=pytest.mark.slow),
        pytest.param(("ddp", 2), ("fsdp2", 4), marks=pytest.mark.slow),
        pytest.param(("zero-1", 2), ("fsdp2", 2), marks=pytest.mark.slow),
        pytest.param(("fsdp2", 2), ("zero-3", 2), marks=pytest.mark.slow),
        (("horovod", 2), ("single", 1)),
        (("single", 1), ("horovod", 2)),
    ],
    ids=lambda one: f"{one[0]}x{one[1]}",
)
def test_another_strategy_goes_on(
    undisturbed: Path, tmp_path: Path, before: tuple[str, int], after: tuple[str, int]
) -> None:
    if not (installed(before[0]) and installed(after[0])):
        pytest.skip("a library is not installed")
    go_on(undisturbed, tmp_path, before, after)


@pytest.mark.parametrize("strategy", ["fsdp2", long("zero-3"), "horovod"])
def test_the_same_strategy_goes_on_to_the_bit(tmp_path: Path, strategy: str) -> None:
    if not installed(strategy):
        pytest.skip("a library is not installed")
    run(tmp_path / "whole", strategy, 2, epochs=EPOCHS)
    # Whoever is killed after step 25 has left just this.
    shutil.copytree(tmp_path / "whole/checkpoints", tmp_path / "parts/checkpoints")
    shutil.rmtree(checkpoints(tmp_path / "parts")[-1])
    assert "resumed from step 25" in run(tmp_path / "parts", strategy, 2, epochs=EPOCHS)
    expected = weights(tmp_path / "whole")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "parts").items())
    assert [row["epoch"] for row in history(tmp_path / "parts")] == [1, 2, 3]
