"""Held-out figures: each sample once, however many processes share them."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.train.processes import results
from workloads.data import InMemory
from workloads.pod.environment import read_place
from workloads.train.evaluation import evaluate
from workloads.train.strategies.base import Single
from workloads.train.tasks import Description
from workloads.train.tasks.classify import Classification, wilson
from workloads.train.world import World

SIZES = (1, 2, 5, 7, 16)


def held_out(count: int) -> InMemory:
    """Random images; the model below is right about those whose label is the number of their brightest pixel."""
    random = np.random.default_rng(count)
    pixels = random.integers(0, 256, (count, 1, 2, 2)).astype(np.uint8)
    return InMemory(pixels, random.integers(0, 4, count))


class Brightest(Classification):
    """Pixels as they are."""

    def inputs(self, batch: torch.Tensor) -> torch.Tensor:
        return batch

    def describe(self) -> Description:
        raise AssertionError("nobody asked")


class AsItIs(Single):
    """No model to be trained: the pixels are the logits."""

    model = torch.nn.Identity()

    def forward(self, inputs: torch.Tensor, *, last: bool = True) -> torch.Tensor:
        return forward(inputs)


def forward(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.flatten(1).float() / 64


def on_ranks() -> dict[str, list[float]]:
    """In each process: figures for every size and batch, and how often each was interrupted."""
    import os

    world = World(read_place(os.environ))
    found = {}
    for count in SIZES:
        for batch in (2, 100):
            turns: list[None] = []
            strategy = AsItIs(None)  # type: ignore[arg-type]
            task = Brightest(0.0)
            figures = evaluate(world, strategy, task, held_out(count), batch, lambda: turns.append(None)).metrics  # noqa: B023
            found[f"{count}/{batch}"] = [figures["accuracy"], figures["loss"], figures["samples"], len(turns)]
    world.close()
    return found


def expected(count: int) -> tuple[float, float]:
    images = held_out(count)
    logits = forward(torch.from_numpy(images.pixels)).double()
    labels = torch.from_numpy(images.labels)
    accuracy = float((logits.argmax(1) == labels).double().mean())
    return accuracy, float(torch.nn.functional.cross_entropy(logits, labels))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_sizes_that_do_not_divide(tmp_path: Path, world: int) -> None:
    by_rank = results(on_ranks, (), world, tmp_path)
    assert all(figures == by_rank[0] for figures in by_rank)
    for count in SIZES:
        for batch in (2, 100):
            accuracy, loss, samples, turns = by_rank[0][f"{count}/{batch}"]
            assert samples == count
            assert (accuracy, loss) == pytest.approx(expected(count))
            assert turns == math.ceil(math.ceil(count / world) / batch)


def test_wilsons_own_figures() -> None:
    # 8 of 10: the interval that textbooks print.
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 20)[0] == 0
    assert wilson(20, 20)[1] == 1


@given(st.integers(1, 10**6).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_interval_holds_the_share(case: tuple[int, int]) -> None:
    correct, count = case
    low, high = wilson(correct, count)
    assert 0 <= low <= correct / count + 1e-12
    assert correct / count - 1e-12 <= high <= 1
