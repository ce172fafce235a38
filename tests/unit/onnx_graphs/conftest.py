"""Jobs over small graphs: nearly nothing to compute, so that a clock would tell of the machine alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.quantize import small_processes, speeds


@pytest.fixture(scope="session", autouse=True)
def _processes() -> Iterator[None]:
    with small_processes.forked():
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_speed_on_every_machine() -> Iterator[None]:
    with speeds.fixed():
        yield
