"""Long-running programs are found again, replaced when their arguments change, and ended for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.local.process import Process, born

SLEEP = ("sleep", "1000")
STUBBORN = ("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process("sleeper", SLEEP, tmp_path)
    yield made
    made.stop()


def test_starting_twice_keeps_the_first(process: Process, tmp_path: Path) -> None:
    assert process.start()
    pid = process.pid()
    assert not process.start()
    assert Process("sleeper", SLEEP, tmp_path).pid() == pid


def test_other_arguments_or_environment_replace_it(process: Process, tmp_path: Path) -> None:
    process.start()
    first = process.pid()
    other = Process("sleeper", ("sleep", "1001"), tmp_path)
    assert other.start()
    assert other.pid() != first
    assert Process("sleeper", ("sleep", "1001"), tmp_path, env={"A": "b"}).start()


def test_a_reused_pid_is_somebody_else(process: Process, tmp_path: Path) -> None:
    (tmp_path / "sleeper.pid").write_text(json.dumps({"pid": os.getpid(), "born": "1", "digest": ""}))
    assert process.pid() is None
    process.stop()
    assert born(os.getpid()) is not None


def test_one_that_ended_by_itself_does_not_run(tmp_path: Path) -> None:
    done = Process("done", ("sh", "-c", "echo why; exit 3"), tmp_path)
    done.start()
    deadline = time.monotonic() + 60
    while done.pid() is not None:
        assert time.monotonic() < deadline
    assert done.tail() == "why"


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = Process("stubborn", STUBBORN, tmp_path)
    stubborn.start()
    while stubborn.tail() != "ready":
        pass
    pid = stubborn.pid()
    assert pid
    stubborn.stop(grace=0.2)
    assert born(pid) is None
    assert stubborn.pid() is None


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    start = f"""
import os, signal
from pathlib import Path
from tests.cluster.local.process import Process
Process("sleeper", {SLEEP!r}, Path({str(tmp_path)!r}), dies_with_parent=True).start()
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", start], cwd=Path(__file__).parents[3], check=False)
    assert died.returncode == -9
    pid = json.loads((tmp_path / "sleeper.pid").read_text())["pid"]
    deadline = time.monotonic() + 60
    while born(pid) is not None:
        assert time.monotonic() < deadline, "it outlives its parent"
