"""Ranks from the launcher's variables, threads from the container's share of the CPU."""

import os
from pathlib import Path

import pytest

from workloads.errors import BadInput
from workloads.pod.cpus import cpu_limit
from workloads.pod.environment import Place, read_place, threads


def test_alone_without_a_launcher() -> None:
    assert read_place({}) == Place(0, 1, 0, 1)


def test_torchruns_variables() -> None:
    env = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    assert read_place(env) == Place(5, 8, 1, 4)
    assert read_place({"RANK": "1", "WORLD_SIZE": "2"}) == Place(1, 2, 0, 1)


@pytest.mark.parametrize(
    "env",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "two", "RANK": "0"},
        {"WORLD_SIZE": "2", "RANK": "2"},
        {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "1"},
    ],
)
def test_contradictions_are_refused(env: dict[str, str]) -> None:
    with pytest.raises(BadInput, match="launcher's variables"):
        read_place(env)


def test_cpu_limit_of_either_cgroup_version(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    assert cpu_limit(tmp_path) == cores
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_limit(tmp_path) == cores
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert cpu_limit(tmp_path) == 0.5
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path) == cores
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000\n")
    assert cpu_limit(tmp_path) == 1.0
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000000\n")
    assert cpu_limit(tmp_path) == cores


@pytest.mark.parametrize(
    ("local", "env", "cores", "expected"),
    [
        (1, {}, 4.0, 4),
        (1, {}, 1.0, 1),
        (1, {}, 0.5, 1),
        (4, {}, 8.0, 2),
        (4, {}, 2.0, 1),
        (1, {"OMP_NUM_THREADS": "3"}, 8.0, 3),
        (4, {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}, 8.0, 2),
        (4, {"OMP_NUM_THREADS": "1"}, 8.0, 1),
        (2, {"OMP_NUM_THREADS": "junk"}, 8.0, 4),
    ],
)
def test_threads(local: int, env: dict[str, str], cores: float, expected: int) -> None:
    assert threads(Place(0, local, 0, local), env, cores) == expected
