"""What travels between processes: gradients once a step however many parts it has, and the largest memory of all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.unit.train import processes

EXTRA = 64 << 20


def reductions(name: str, parts: int) -> int:
    """How often gradients travel in a step of so many parts."""
    import torch
    from torch import nn
    from torch.profiler import ProfilerActivity, profile

    from slipway.api.training.memory import StrategyName
    from tests.unit.train.runs.strategies.footprint import Shape, strategy_of
    from workloads.pod.environment import read_place

    torch.manual_seed(0)
    strategy = strategy_of(StrategyName(name), "fp32", Shape(1, 8, 1, 1))
    strategy.setup(read_place(os.environ))
    strategy.wrap(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)))
    batches: list[Any] = [torch.ones(2, 4)] * parts

    def learn() -> None:
        strategy.learn(batches, lambda batch: (batch, batch[:, :1]), lambda _, found, wanted: (found - wanted).mean())
        strategy.step(0.1)

    learn()  # the first step may sort out buckets
    with profile(activities=[ProfilerActivity.CPU]) as trace:
        learn()
    names = [event.key for event in trace.key_averages() for _ in range(event.count)]
    return sum(name.startswith("c10d::") and "reduce" in name for name in names)


@pytest.mark.parametrize("name", ["DDP", "FSDP2"])
def test_gradients_travel_with_the_last_part_of_a_step_only(tmp_path: Path, name: str) -> None:
    one = processes.results(reductions, (name, 1), 2, tmp_path / "one")
    three = processes.results(reductions, (name, 3), 2, tmp_path / "three")
    assert one == three
    assert one[0] > 0


def peak_memory() -> list[float]:
    """The figure, and what this process has held; the second process holds more than the first."""
    import torch

    from workloads.pod.environment import read_place
    from workloads.train.telemetry.throughput import ThroughputMeter, Work, peak_bytes
    from workloads.train.world import World

    place = read_place(os.environ)
    torch.ones(EXTRA * place.rank, dtype=torch.uint8)
    world = World(place)
    own = peak_bytes(world.device)
    return [ThroughputMeter(10, Work()).figures(world, 1, None)["peakMemoryBytes"], own]


def test_the_peak_is_the_largest_process(tmp_path: Path) -> None:
    (told, first), (again, second) = processes.results(peak_memory, (), 2, tmp_path)
    assert told == again
    assert told >= second >= first + EXTRA // 2
