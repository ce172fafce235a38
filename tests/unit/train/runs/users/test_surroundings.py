"""Surroundings of strangers: streams that are closed, and no room in /dev/shm."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.train.processes import ROOT
from tests.unit.train.runs import runs
from workloads.train.command import needs_shared_memory

SHORT = {"epochs": 1, "dataset": {"name": "digits", "limit": 128}}


def command(folder: Path, **recipe: object) -> list[str]:
    """The trainer as a process of its own, over a small job."""
    folder.mkdir(exist_ok=True)
    document = runs.document(folder, "single", **{**SHORT, **recipe})
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    return [sys.executable, "-m", "workloads", "train", "--config", str(folder / "job.yaml")]


def test_closed_streams_are_no_files_of_the_user(tmp_path: Path) -> None:
    """A run with stdout closed ended in an AttributeError after its training; what it printed had no place."""
    words = " ".join(command(tmp_path))
    found = subprocess.run(["sh", "-c", f"exec {words} <&- >&- 2>&-"], cwd=ROOT, check=False)
    assert found.returncode == 0
    assert (tmp_path / "model/artifact.json").is_file()
    assert "epoch" not in (tmp_path / "model/artifact.json").read_text()[:40]


@pytest.mark.slow
def test_no_room_for_loader_processes_is_told_with_the_field(tmp_path: Path) -> None:
    words = " ".join(command(tmp_path, dataWorkers=2))
    small = f"mount -t tmpfs -o size=4k tmpfs /dev/shm && exec {words}"
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=False)
    if probe.returncode:
        pytest.skip("this user cannot mount")
    found = subprocess.run(["unshare", "-m", "sh", "-c", small], cwd=ROOT, check=False, capture_output=True, text=True)
    assert found.returncode == 2, found.stderr
    assert "found no room in /dev/shm: raise spec.sharedMemory, or set dataWorkers to 0" in found.stderr


def test_what_torch_says_of_shared_memory() -> None:
    killed = "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are"
    assert needs_shared_memory(RuntimeError(killed))
    assert not needs_shared_memory(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."))
    assert not needs_shared_memory(OSError(28, os.strerror(28)))
