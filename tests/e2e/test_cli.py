"""`slipway` beside a real cluster: a job's screen, its log, what a manifest would make."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.cluster import install
from tests.cluster.base import Cluster
from tests.cluster.paths import REPOSITORY
from tests.e2e.conftest import Namespace, is_true
from tests.e2e.installing.test_install import waiting_job

pytestmark = pytest.mark.slow
Done = subprocess.CompletedProcess[str]


@pytest.fixture
def slipway(cluster: Cluster, namespace: Namespace):
    """The command, as a person runs it in the namespace."""
    where = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", namespace.name]
    where += ["--context", cluster.context] if cluster.context else []

    def run(*arguments: str) -> Done:
        argv = [sys.executable, "-m", "slipway.cli.app", *arguments, *(where if arguments[0] != "plan" else [])]
        environment = os.environ | {"COLUMNS": "120", "PYTHONPATH": str(REPOSITORY / "operator")}
        return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment, timeout=60)

    return run


def test_a_jobs_screen_log_and_end(slipway, namespace: Namespace, images: dict[str, str]) -> None:
    job = waiting_job("steady", images["trainer"])
    job["spec"]["trainer"]["command"][2] = (
        f"print('hello from', {namespace.name!r}, flush=True)\n" + job["spec"]["trainer"]["command"][2]
    )
    namespace.apply(job)
    namespace.until("trainingjob", "steady", lambda found: is_true(found, "Running"), "running", 90)
    under_way = slipway("status", "steady")
    assert under_way.returncode == 3, under_way.stderr
    assert "steady-node-0-a0" in under_way.stdout
    assert "steady-node-1-a0" in under_way.stdout
    said = slipway("logs", "tj/steady", "--pod", "steady-node-1-a0")
    assert said.returncode == 0
    assert f"hello from {namespace.name}" in said.stdout
    of_all = slipway("logs", "steady", "--all").stdout
    for node in (0, 1):
        assert slipway("logs", "steady", "--rank", str(node)).stdout.count("hello from") == 1
        assert f"steady-node-{node}-a0" in of_all
    for pod in namespace.pods("steady"):
        namespace.kubectl("exec", pod["metadata"]["name"], "--", "touch", "/tmp/enough")
    ended = slipway("watch", "steady", "--interval", "0.5")
    assert ended.returncode == 0, ended.stdout
    shown = json.loads(slipway("status", "steady", "--output", "json").stdout)
    assert "Succeeded" in json.dumps(shown)
    assert slipway("status", "nobody").returncode == 4


def test_a_plan_is_what_the_cluster_makes_of_it(slipway, namespace: Namespace, example) -> None:
    planned = json.loads(slipway("plan", str(install.example("trainingjob.yaml")), "--output", "json").stdout)
    wanted = {(made["kind"], made["metadata"]["name"]) for one in planned for made in one["creates"]}
    namespace.apply(example("trainingjob.yaml"))
    namespace.until("trainingjob", "digits", lambda job: is_true(job, "Created"), "created", 180)
    made = namespace.get("pods,services,configmaps", "-l", "slipway.dev/job-name=digits")["items"]
    assert {(one["kind"], one["metadata"]["name"]) for one in made} == wanted
