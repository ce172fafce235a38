"""The agent that stands in for ssh, run for real: two nodes on two loopback addresses, with the job's key."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from tests.ports import free_port

HERE, THERE = "127.0.0.1", "127.0.0.2"


class Pair:
    """Node 0 and node 1 of a job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("gang.py", "ssh"):
            (folder / name).write_text((files("slipway.trainingjob.payload") / name).read_text())
            (folder / name).chmod(0o555)
        (folder / "key").write_text("secret")
        (folder / "hosts").write_text(f"{HERE}\n{THERE}\n")
        self.port = free_port()
        self.started: list[subprocess.Popen[str]] = []

    def env(self, address: str, **more: str) -> dict[str, str]:
        own = {
            "SLIPWAY_GANG_PORT": str(self.port),
            "SLIPWAY_GANG_KEY": str(self.folder / "key"),
            "SLIPWAY_GANG_HOSTS": str(self.folder / "hosts"),
            "SLIPWAY_GANG_ADDRESS": address,
            "SLIPWAY_GANG_SLOTS": "4",
            "NODE": address,
        }
        return os.environ | own | more

    def start(self, address: str, *words: str, **more: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.folder / "gang.py"), *words]
        pipe = subprocess.PIPE
        self.started.append(
            subprocess.Popen(command, env=self.env(address, **more), text=True, stdout=pipe, stderr=pipe)
        )
        return self.started[-1]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    for process in pair.started:
        process.kill()
        process.wait()


def test_node_0_runs_commands_on_node_1_and_ends_it(pair: Pair) -> None:
    worker = pair.start(THERE, "serve")
    leader = pair.start(HERE, "lead", "sh", "-c", f"ssh -x -o A=b -l me {THERE} 'echo on $NODE; echo bad >&2; exit 7'")
    out, errors = leader.communicate(timeout=120)
    assert (leader.returncode, out, errors) == (7, "on 127.0.0.2\n", "bad\n")
    assert worker.wait(60) == 1, "the worker ends badly when node 0 does, and after it"


def test_all_end_well_together(pair: Pair) -> None:
    worker = pair.start(THERE, "serve")
    leader = pair.start(HERE, "lead", "ssh", THERE, "head -c 3000000 /dev/zero | tr '\\0' x")
    out, _ = leader.communicate(timeout=120)
    assert (leader.returncode, len(out)) == (0, 3000000)
    assert worker.wait(60) == 0


def test_without_the_key_nothing_is_run(pair: Pair, tmp_path: Path) -> None:
    pair.start(THERE, "serve")
    pair.start(HERE, "serve")
    wait_for(pair)
    (tmp_path / "wrong").write_text("guess")
    ran = tmp_path / "ran"
    stranger = pair.start(HERE, "ssh", THERE, f"touch {ran}", SLIPWAY_GANG_KEY=str(tmp_path / "wrong"))
    _, errors = stranger.communicate(timeout=120)
    assert stranger.returncode == 255
    assert "hung up" in errors
    assert not ran.exists()


def test_who_hangs_up_ends_what_he_started(pair: Pair, tmp_path: Path) -> None:
    pair.start(THERE, "serve")
    pair.start(HERE, "serve")
    wait_for(pair)
    caller = pair.start(HERE, "ssh", THERE, f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip() != "")
    pid = int((tmp_path / "pid").read_text())
    caller.kill()
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_discovery_prints_who_answers(pair: Pair) -> None:
    pair.start(THERE, "serve")
    until(lambda: pair.start(HERE, "hosts").communicate(timeout=120)[0] == f"{THERE}:4\n")


def wait_for(pair: Pair) -> None:
    until(lambda: pair.start(HERE, "hosts").communicate(timeout=120)[0].count(":4") == 2)


def until(holds) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
