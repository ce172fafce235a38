"""kill -9 at random steps: the end is the same to the bit, and every epoch sees every sample once."""

import os
import random
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.train.processes import train, wait_for
from tests.unit.train.runs import witness
from tests.unit.train.runs.runs import weights, write

SAMPLES, BATCH = 320, 32
PER_EPOCH = SAMPLES // BATCH


def job(folder: Path, epochs: int) -> Path:
    log = folder / "log"
    log.mkdir(parents=True)
    own = {"callable": "tests.unit.train.runs.witness:digits", "arguments": {"log": str(log), "limit": str(SAMPLES)}}
    more = {"epochs": epochs, "every": 3, "rehearsal": False}  # the witness notes every sample that is read
    return write(folder, "single", dataset={"name": "custom", **own}, globalBatchSize=BATCH, **more)


def live(config: Path, count: int, life: int, steps: int | None) -> tuple[int, bool]:
    """One life, killed after about so many steps. Returns the step that it began with, and whether it was killed."""
    log = config.parent / "log"
    with train(config, count, config.parent / "logs", LIFE=str(life)) as running:
        if steps is not None:
            victim = running[life % count]
            wait_for(
                lambda: len(witness.read(log, life, 0)) >= steps or victim.process.exitcode is not None, "the steps"
            )
            if victim.process.exitcode is None:
                os.kill(victim.process.pid, signal.SIGKILL)
        codes = [one.wait() for one in running]
        output = running[0].output
    found = re.findall(r"resumed from step (\d+)", output)
    assert codes == [0] * count or steps is not None, output
    return int(found[0]) if found else 0, codes != [0] * count


def steps_of(folder: Path, lives: list[int], count: int) -> dict[int, list[int]]:
    """Samples of each step, of all processes, as its last life saw them. `lives`: the step that each began with."""
    found: dict[int, list[int]] = {}
    for life, start in enumerate(lives):
        by_rank = [witness.read(folder / "log", life, rank) for rank in range(count)]
        for number, parts in enumerate(zip(*by_rank, strict=False)):
            found[start + number] = sorted(index for part in parts for index in part)
    return found


def run_with_kills(folder: Path, count: int, kills: int, epochs: int, seed: int) -> dict[int, list[int]]:
    seeded = random.Random(seed)
    config = job(folder, epochs)
    lives: list[int] = []
    for life in range(kills + 1):
        start, killed = live(config, count, life, seeded.randint(1, 9) if life < kills else None)
        lives.append(start)
        assert killed == (life < kills), "it ended before all kills: give it more epochs"
    return steps_of(folder, lives, count)


def same_end(folder: Path, count: int, kills: int, epochs: int, seed: int) -> None:
    undisturbed, disturbed = folder / "undisturbed", folder / "disturbed"
    live(job(undisturbed, epochs), count, 0, None)
    expected = steps_of(undisturbed, [0], count)
    found = run_with_kills(disturbed, count, kills, epochs, seed)
    assert sorted(found) == list(range(PER_EPOCH * epochs))
    assert found == expected
    for epoch in range(epochs):
        seen = [index for step in range(epoch * PER_EPOCH, (epoch + 1) * PER_EPOCH) for index in found[step]]
        assert sorted(seen) == list(range(SAMPLES))
    before: Any = weights(undisturbed)
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(disturbed).items())


@pytest.mark.parametrize(("count", "kills", "seed"), [(1, 3, 1), (2, 2, 2)])
def test_killed_a_few_times(tmp_path: Path, count: int, kills: int, seed: int) -> None:
    same_end(tmp_path, count, kills, 6, seed)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "seed"), [(1, 3), (2, 4)])
def test_killed_fifty_times(tmp_path: Path, count: int, seed: int) -> None:
    """Fifty lives of at most nine steps, each begun at the last checkpoint: the job is longer than all of them."""
    same_end(tmp_path, count, 50, 45, seed)
