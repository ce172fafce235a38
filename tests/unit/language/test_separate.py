"""OpenVINO's engine in a process of its own: its end is told, and it ends with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.cluster.paths import REPOSITORY
from workloads.language.openvino import separate

HELD = """
import sys
from workloads.language.openvino import separate
process = separate._process()
print(process.submit(separate.os.getpid).result(), flush=True)
sys.stdin.read()
"""


def test_a_process_of_openvino_that_dies_takes_nobody_along(small: Path, tmp_path: Path) -> None:
    separate.write(small, tmp_path / "ir")
    graph = separate.Paged(tmp_path / "ir", "f32")
    text = torch.randint(5, 99, (1, 9), generator=torch.Generator().manual_seed(1))
    (before,) = graph.each([text])
    assert before.shape[0] == 9
    (pid,) = graph._process._processes
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(separate.EngineEndedError, match=r"want of memory: raise worker\.resources\.limits\.memory"):
        next(graph.each([text]))
    (again,) = separate.Paged(tmp_path / "ir", "f32").each([text])
    assert torch.equal(again, before)


def test_it_ends_with_an_owner_that_is_killed() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}"}
    words = [sys.executable, "-c", HELD]
    owner = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert owner.stdout is not None
    descriptor = os.pidfd_open(int(owner.stdout.readline()))
    owner.kill()
    owner.wait()
    import select

    assert select.select([descriptor], [], [], 120)[0], "it lives on"
    os.close(descriptor)


def test_calls_after_one_that_ended_the_process_get_another() -> None:
    """A job goes on to its next candidate, or is tried again by whoever called."""
    with pytest.raises(separate.EngineEndedError):
        separate.apart(os._exit, 9)
    assert separate.apart(os.getpid) != os.getpid()
