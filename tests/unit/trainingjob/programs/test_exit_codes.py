"""Does the exit code of one's own program arrive? By the command that a pod runs, with the real torchrun."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.reconcile.pods.observed import observe_pod
from slipway.trainingjob import pods
from tests.ports import free_port
from tests.unit.trainingjob.rendered import PLATFORM, container_of, env_of, job_of

ROOT = Path(__file__).parents[4]
# Not a shell's `$$`: torchrun makes `$` of it in all arguments.
OWN = "import os, time; own = os.environ['LOCAL_RANK']"
KILL = "os.kill(os.getpid(), 9)"


def run(folder: Path, program: list[str], launcher: str = "torchrun") -> subprocess.CompletedProcess[str]:
    """The container's command, with its ConfigMap in a folder here, and cgroup's file of a container beside it."""
    job = job_of(launcher=launcher, numProcPerNode=2, trainer={"command": program})
    for name, text in pods.config_map(job, PLATFORM)["data"].items():
        (folder / name).write_text(text.replace("/sys/fs/cgroup/", f"{folder}/"))
    (folder / "memory.events").write_text("oom_kill 0\n")
    command = [word.replace("/etc/slipway", str(folder)) for word in container_of(job)["command"]]
    bin_ = Path(sys.executable).parent
    env = {**os.environ, **{name: value for name, value in env_of(job).items() if isinstance(value, str)}}
    env |= {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PET_MASTER_PORT": str(free_port())}
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def failure_of(done: subprocess.CompletedProcess[str]) -> tuple[int | None, str, str]:
    """As the operator reads it: a kubelet says Error of every first process that was not killed itself."""
    ended = {"exitCode": done.returncode, "reason": "Error", "message": done.stderr[-2048:]}
    status = {"phase": "Failed", "containerStatuses": [{"name": pods.CONTAINER, "state": {"terminated": ended}}]}
    failure = observe_pod(
        {"metadata": {"name": "p", "uid": "u"}, "status": status}, datetime.now(UTC), pods.CONTAINER
    ).failure
    assert failure is not None
    return failure.exit_code, failure.signal, failure.reason


@pytest.mark.parametrize(
    "program",
    [
        [sys.executable, "-c", "raise SystemExit(42)"],
        ["torchrun", "--no-python", sys.executable, "-c", "raise SystemExit(42)"],
        [sys.executable, "-m", "torch.distributed.run", "--no-python", "sh", "-c", "exit 42"],
    ],
    ids=["program", "torchrun", "module"],
)
def test_onexitcodes_sees_the_programs_own_code(tmp_path: Path, program: list[str]) -> None:
    """torchrun made 1 of it, whatever it was."""
    done = run(tmp_path, program)
    assert failure_of(done) == (42, "", "Error"), done.stderr
    assert "ended with code 42" in done.stderr.strip().splitlines()[-1]


def test_a_worker_that_the_kernel_killed_for_memory_is_oomkilled(tmp_path: Path) -> None:
    starved = f"open('{tmp_path}/memory.events', 'w').write('oom_kill 1\\n') if own == '1' else time.sleep(60)"
    done = run(tmp_path, [sys.executable, "-c", f"{OWN}; {starved}; {KILL}"], "deepspeed")
    assert failure_of(done) == (137, "SIGKILL", "OOMKilled"), done.stderr
    assert "process 1 was killed" in done.stderr


def test_a_worker_that_somebody_else_killed_is_not(tmp_path: Path) -> None:
    done = run(tmp_path, [sys.executable, "-c", f"{OWN}; {KILL}"])
    assert failure_of(done) == (137, "SIGKILL", "Error"), done.stderr


def test_torchrun_belongs_to_another_python_than_the_first_on_the_path(tmp_path: Path) -> None:
    """The system's python3 without torch beside a virtual environment's torchrun; and an image without any torch."""
    agent = tmp_path / "torch_agent.py"
    agent.write_text(pods.config_map(job_of(), PLATFORM)["data"]["torch_agent.py"])
    torchrun = shutil.which("torchrun", path=str(Path(sys.executable).parent))
    bare = [sys.executable, "-I", "-S", str(agent)]
    words = [torchrun or "", "--standalone", "--nproc-per-node=1", "--no-python", "sh", "-c", "exit 7"]
    one = subprocess.run([*bare, *words], capture_output=True, text=True, timeout=300, check=False)
    assert one.returncode == 1, (
        "torchrun itself is called: the same Python was asked for: it must not start itself anew for ever"
    )
    other = tmp_path / "python3"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    script = tmp_path / "torchrun"
    script.write_text(f"#!{other}\n")
    script.chmod(0o755)
    two = subprocess.run([*bare, str(script), *words[1:]], capture_output=True, text=True, timeout=300, check=False)
    assert two.returncode == 7, two.stderr
    none = subprocess.run([*bare, "torchrun-of-nobody"], capture_output=True, text=True, timeout=60, check=False)
    assert none.returncode == 127
    assert "take one with PyTorch" in none.stderr


def test_recipes_and_own_commands_have_the_same_starter() -> None:
    assert (
        pods.config_map(job_of(), PLATFORM)["data"]["torch_agent.py"]
        == (ROOT / "workloads" / "train" / "torchrun.py").read_text()
    )


@pytest.mark.parametrize("launcher", ["torchrun", "deepspeed"])
def test_dollars_in_arguments_arrive_as_they_are(tmp_path: Path, launcher: str) -> None:
    """torchrun makes `$` of `$$`: `kill -9 $$` in a shell became `kill -9 $`. Its own macros are still filled in."""
    # In one call: of two processes that share a pipe, print() writes a line's end after the other's line.
    show = "import os, sys; os.write(1, f'{sys.argv[1:]}{os.linesep}'.encode())"
    done = run(tmp_path, [sys.executable, "-c", show, "$$", "a$$$$b", "$HOME", "${local_rank}"], launcher)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [str(["$$", "a$$$$b", "$HOME", f"{rank}"]) for rank in range(2)]
