"""Ray in a job: what its pods are given, and, slow, Ray itself by those programs on two nodes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import spec_problems
from slipway.cli.ranks import processes_of
from slipway.runtime.client.resource import SECRETS
from slipway.trainingjob.gang import TrainingGang
from tests.ports import free_port
from tests.unit.api.admission import Admission
from tests.unit.trainingjob.programs.ray_peer import programs
from tests.unit.trainingjob.programs.test_launchers import files_of, volume_of
from tests.unit.trainingjob.rendered import PLATFORM, RECIPE, container_of, env_of, job_of, pod_of, resources

HERE, THERE = "127.0.0.1", "127.0.0.2"
LEADS = ["python3", "/etc/slipway/gang.py", "lead", "python3", "/etc/slipway/ray_node.py", "lead"]


def test_node_0_drives_and_the_others_obey() -> None:
    job = job_of(launcher="ray", numNodes=3)
    assert container_of(job)["command"] == [*LEADS, "python", "train.py"]
    assert container_of(job, 2)["command"] == ["python3", "/etc/slipway/gang.py", "serve"]
    found = files_of(job)
    assert {"gang.py", "ray_node.py", "hosts"} <= found.keys()
    compile(found["ray_node.py"], "ray_node.py", "exec")


def test_all_have_one_token_which_nobody_reads_in_an_object() -> None:
    job = job_of(launcher="ray", numNodes=2)
    for index in range(2):
        env = env_of(job, index)
        assert env["RAY_AUTH_MODE"] == "token"
        assert env["RAY_AUTH_TOKEN_PATH"] == env["SLIPWAY_GANG_KEY"] == "/var/run/secrets/slipway.dev/gang/key"
        assert env["RAY_USAGE_STATS_ENABLED"] == "0"
    volume = volume_of(pod_of(job), "/var/run/secrets/slipway.dev/gang")
    assert volume == {"name": "slipway-gang", "secret": {"secretName": "j-gang-uid-1", "defaultMode": 0o444}}
    (secret,) = [w for w in TrainingGang(job, PLATFORM).writes([0, 1], 0, first=True) if w.resource is SECRETS]
    assert secret.drawn == ("key",)


def test_ray_hands_out_what_the_pods_limits_give() -> None:
    env = env_of(job_of(launcher="ray", trainer=resources(cpu="2500m", **{"nvidia.com/gpu": 4})))
    assert (env["SLIPWAY_RAY_CPUS"], env["SLIPWAY_RAY_GPUS"]) == ("2", "4")
    env = env_of(job_of(launcher="ray"))
    assert env["SLIPWAY_RAY_GPUS"] == "0", "never those of the node"
    assert "SLIPWAY_RAY_CPUS" not in env
    assert volume_of(pod_of(job_of(launcher="ray")), "/dev/shm") is not None, "its object store"


def test_an_elastic_cluster_finds_its_nodes_by_their_service() -> None:
    job = job_of(launcher="ray", numNodes=2, elasticPolicy={"minNodes": 1, "maxNodes": 3})
    env = env_of(job)
    assert (env["SLIPWAY_GANG_SERVICE"], env["SLIPWAY_GANG_LEAST"]) == ("j-nodes.team.svc", "1")
    assert env["SLIPWAY_POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_a_home_that_can_be_written_is_for_results() -> None:
    assert env_of(job_of(launcher="ray"))["HOME"] == "/tmp"
    assert "HOME" not in env_of(job_of(launcher="ray", pod={"readOnlyRootFilesystem": False}))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"recipe": RECIPE}, "set trainer.command, or launcher to torchrun"),
        ({"numProcPerNode": 2}, "remove numProcPerNode"),
        ({"network": {"hostNetwork": True}}, "remove network.hostNetwork"),
    ],
)
def test_what_ray_cannot_do_is_refused_by_server_and_operator_alike(spec: dict[str, Any], words: str) -> None:
    body = {"launcher": "ray", **({} if "recipe" in spec else {"trainer": {"command": ["x"]}}), **spec}
    metadata = {"name": "j", "namespace": "n"}
    job = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata, "spec": body}
    assert any(words in refusal for refusal in Admission(trainingjob.KIND).refusals(job))
    assert any(words in problem for problem in spec_problems("j", body)[1])


def test_a_log_is_asked_for_by_node() -> None:
    spec = {"launcher": "ray", "trainer": {"command": ["x"], "resourcesPerNode": {"limits": {"cpu": "8"}}}}
    assert processes_of({"kind": "TrainingJob", "spec": spec}) == 1


TUNE = """
import sys
from ray import tune

def trial(config):
    tune.report({"loss": (config["x"] - 2) ** 2})

found = tune.Tuner(trial, param_space={"x": tune.grid_search([1, 2, 3, 4])}).fit()
print("best", found.get_best_result(metric="loss", mode="min").config["x"], "of", len(found))
"""
# Both nodes work, and a program without the token is refused.
WHERE = """
import os, subprocess, sys, ray
ray.init()
names = [n["NodeID"] for n in ray.nodes() if n["Alive"]]
at = [f.options(scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(n, soft=False))
      for f in [ray.remote(num_cpus=1)(lambda: ray.get_runtime_context().get_node_id())] for n in names]
assert sorted(ray.get([one.remote() for one in at])) == sorted(names) and len(names) == 2, names
wrong = {**os.environ, "RAY_AUTH_TOKEN": "wrong" * 12}
del wrong["RAY_AUTH_TOKEN_PATH"]
assert subprocess.run([sys.executable, "-c", "import ray; ray.init(); ray.nodes()"], env=wrong).returncode
print(int(ray.cluster_resources()["CPU"]), ray.cluster_resources().get("GPU", 0))
raise SystemExit(7)
"""


# What the name service would say is in a file; everything else is the payload's own.
ELASTIC = """
import sys
sys.path.insert(0, {folder!r})
import gang
from pathlib import Path
gang.SERVICE = "nodes"
gang.members = lambda: Path({folder!r}, "members").read_text().split()
import ray_node
sys.exit(ray_node.main(["lead", sys.executable, "-u", "-c", {program!r}]))
"""
GROWS_AND_SHRINKS = """
import os, signal, time, ray
from pathlib import Path
ray.init()
def until(nodes):
    while (there := sum(bool(n["Alive"]) for n in ray.nodes())) != nodes:
        time.sleep(0.5)
    print("nodes:", there)
until(1)
Path({folder!r}, "members").write_text({both!r})
until(2)
Path({folder!r}, "members").write_text({alone!r})
for p in Path("/proc").glob("[0-9]*/cmdline"):
    text = p.read_bytes()
    if b"--node-manager-port=7380" in text and b"start" in text.split(bytes(1)):
        os.kill(int(p.parent.name), signal.SIGTERM)
until(1)
print(ray.get(ray.remote(lambda: "goes on").remote()))
"""


class Cluster:
    """Two nodes of one job on this machine, as their pods would start."""

    def __init__(self, folder: Path, ray: Path) -> None:
        self.folder, self.ray, self.port = folder, ray, free_port()
        self.started: list[subprocess.Popen[str]] = []
        for name in ("gang.py", "ssh", "ray_node.py"):
            (folder / name).write_text((files("slipway.trainingjob.payload") / name).read_text())
            (folder / name).chmod(0o555)
        (folder / "key").write_text("0123456789abcdef" * 4)
        (folder / "hosts").write_text(f"{HERE}\n{THERE}\n")

    def start(self, index: int, *words: str, program: str = "gang.py") -> subprocess.Popen[str]:
        """A node's container."""
        job = job_of(launcher="ray", numNodes=2, trainer=resources(cpu="2"))
        env = {name: value for name, value in env_of(job, index).items() if isinstance(value, str)}
        own = {
            "PATH": f"{self.ray}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "RAY_TMPDIR": str(self.folder),
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "key"),
            "SLIPWAY_POD_IP": _own_address(),
            "SLIPWAY_GANG_PORT": str(self.port),
            "SLIPWAY_GANG_KEY": str(self.folder / "key"),
            "SLIPWAY_GANG_HOSTS": str(self.folder / "hosts"),
            "SLIPWAY_GANG_ADDRESS": (HERE, THERE)[index],
            "SLIPWAY_RAY_SHIFT": str(1000 * index),
        }
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [str(self.ray / "python3"), str(self.folder / program), *words]
        process = subprocess.Popen(
            command,
            env={**clean, **env, **own},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started.append(process)
        return process

    def run(self, program: str, seconds: float = 500) -> tuple[int, str]:
        """Exit code and output of node 0, whose driver is this program; node 1 ends as it does."""
        worker = self.start(1, "serve")
        node = str(self.folder / "ray_node.py")
        leader = self.start(0, "lead", "python3", node, "lead", "python3", "-u", "-c", program)
        said, _ = leader.communicate(timeout=seconds)
        assert worker.wait(60) == int(leader.returncode != 0)
        return leader.returncode, said

    def end(self) -> None:
        # Node 0 first, which ends Ray on both.
        for process in reversed(self.started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(90)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _own_address() -> str:
    """This machine's, by which Ray goes whatever it is told of a loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            return HERE
        return str(one.getsockname()[0])


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Ray's sockets lie in it, and may have 107 characters.
    made = Cluster(tmp_path_factory.mktemp("ray"), programs())
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tune_runs_unmodified_and_all_nodes_end_well(cluster: Cluster) -> None:
    code, said = cluster.run(TUNE)
    assert (code, "best 2 of 4" in said) == (0, True), said[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_both_nodes_work_and_the_drivers_exit_code_is_the_containers(cluster: Cluster) -> None:
    code, said = cluster.run(WHERE)
    assert (code, "\n4 0\n" in said) == (7, True), said[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_node_whose_ray_ends_ends_the_driver_and_says_which(cluster: Cluster) -> None:
    program = "import os, signal, time; os.kill({}, signal.SIGTERM); time.sleep(600)"
    find = (
        "from pathlib import Path; found = [p.parent.name for p in Path('/proc').glob('[0-9]*/cmdline')"
        " if b'--node-manager-port=7380' in (text := p.read_bytes()) and b'start' in text.split(bytes(1))]; "
    )
    code, said = cluster.run(find + program.format("int(found[0])"))
    assert (code, "Ray on 127.0.0.2 ended with" in said) == (1, True), said[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nodes_of_an_elastic_job_come_and_go(cluster: Cluster) -> None:
    folder, alone = str(cluster.folder), _own_address()
    (cluster.folder / "members").write_text(alone)
    story = GROWS_AND_SHRINKS.format(folder=folder, alone=alone, both=f"{alone} {THERE}")
    (cluster.folder / "leads.py").write_text(ELASTIC.format(folder=folder, program=story))
    cluster.start(1, "serve")
    leader = cluster.start(0, program="leads.py")
    said, _ = leader.communicate(timeout=500)
    assert leader.returncode == 0, said[-3000:]
    told = [line for line in said.splitlines() if line.startswith(("nodes:", "goes"))]
    assert told == ["nodes: 1", "nodes: 2", "nodes: 1", "goes on"]
