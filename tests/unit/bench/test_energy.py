"""Energy is the machine's own figure or none: counters that begin anew, that may not be read, that are parts of others.

The files are as the kernel's Documentation/power/powercap describes them; machines of the cloud have none.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from workloads.bench import energy


def domain(root: Path, folder: str, name: str, microjoules: str, limit: int = 262143328850) -> Path:
    place = root / folder
    place.mkdir(parents=True)
    (place / "name").write_text(f"{name}\n")
    (place / "energy_uj").write_text(microjoules)
    (place / "max_energy_range_uj").write_text(f"{limit}\n")
    return place / "energy_uj"


def test_packages_are_counted_and_not_their_parts(tmp_path: Path) -> None:
    first = domain(tmp_path, "intel-rapl:0", "package-0", "1000000\n")
    second = domain(tmp_path, "intel-rapl:1", "package-1", "5000000\n")
    domain(tmp_path, "intel-rapl:0:0", "core", "700000\n")
    found = energy.counters(tmp_path)

    def work() -> None:
        first.write_text("3500000\n")
        second.write_text("5250000\n")

    assert energy.measure(found, work) == {"rapl package-0": pytest.approx(2.5), "rapl package-1": pytest.approx(0.25)}


def test_a_counter_that_began_anew_has_not_given_energy_back(tmp_path: Path) -> None:
    counter = domain(tmp_path, "intel-rapl:0", "package-0", "9000000\n", limit=10_000_000)
    used = energy.measure(energy.counters(tmp_path), lambda: counter.write_text("500000\n"))
    assert used == {"rapl package-0": pytest.approx(1.5)}


def test_what_cannot_be_read_is_not_reported(tmp_path: Path) -> None:
    assert energy.counters(tmp_path / "absent") == []
    domain(tmp_path, "intel-rapl:0", "package-0", "")
    assert energy.counters(tmp_path) == []
