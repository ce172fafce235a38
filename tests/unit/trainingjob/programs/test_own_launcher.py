"""Launchers of somebody else's, found by their entry point; and the programs that travel with any of them."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from slipway.trainingjob import launchers
from slipway.trainingjob.launchers.base import Simple
from tests.unit.trainingjob.programs.test_launchers import files_of
from tests.unit.trainingjob.rendered import (
    container_of,
    env_of,
    job_of,
)


class Mine(Simple):
    """A launcher of somebody else's."""

    def problems(self, job: Any) -> list[str]:
        return []

    def command(self, job: Any, program: list[str], place: launchers.Place) -> list[str]:
        return ["mine", str(place.index), *program]

    def env(self, job: Any, place: launchers.Place) -> dict[str, str]:
        return {"MINE": str(place.attempt)}


def test_somebody_elses_launcher_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("example.com/mine", f"{__name__}:Mine", launchers.GROUP)
    monkeypatch.setattr(EntryPoint, "load", lambda self: Mine)
    monkeypatch.setattr(launchers, "entry_points", lambda group, name: [e for e in [entry] if e.name == name])
    monkeypatch.setattr(launchers, "_found", {})
    job = job_of(launcher="example.com/mine")
    assert container_of(job)["command"] == ["mine", "0", "python", "train.py"]
    assert env_of(job)["MINE"] == "0"
    (problem,) = launchers.problems(job_of(launcher="example.com/other"))
    assert "no package of this operator's image brings example.com/other" in problem


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed", "horovodrun", "mpirun", "ray", "plain"])
def test_the_programs_that_travel_are_valid_and_the_config_map_is_small(launcher: str) -> None:
    job = job_of(launcher=launcher, numNodes=1000)
    data = files_of(job)
    for name, text in data.items():
        if name.endswith(".py"):
            compile(text, name, "exec")
    assert sum(len(text) for text in data.values()) < 2**20
