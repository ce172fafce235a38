"""The Python client against a real API server and an operator."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import yaml

from slipway.client import (
    Client,
    DeniedError,
    ExistsError,
    FailedError,
    MissingError,
    SpecError,
    UnreachableError,
    WaitTimeoutError,
)
from tests.api.conftest import SHARED as NS
from tests.api.stage import Stage
from tests.cluster.scripted.script import Exit

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]


def nothing() -> None:
    print("nothing")


@pytest.fixture
def client(stage: Stage) -> Client:
    return Client(NS, kubeconfig=stage.plane.kubeconfig)


def test_a_function_is_trained_waited_for_and_deleted(stage: Stage, client: Client, name: str) -> None:
    job = client.train(name, func=nothing, num_nodes=2)
    stage.until_running(NS, name)
    seen: list[str] = []
    for node in range(2):
        threading.Timer(0.5, stage.finish, (NS, f"{name}-node-{node}-a0")).start()
    assert job.wait(120, on_change=lambda one: seen.append(repr(one))) is job
    assert seen
    assert job.status.completion_time is not None
    assert [pod["metadata"]["name"] for pod in job.pods()] == [f"{name}-node-0-a0", f"{name}-node-1-a0"]
    job.delete()
    job.delete()
    with pytest.raises(MissingError):
        job.wait(60)


def test_a_failure_is_an_error_with_the_pods_words(stage: Stage, client: Client, name: str) -> None:
    job = client.train(name, func=nothing, failure_policy={"maxRestarts": 0})
    stage.until_running(NS, name)
    stage.finish(NS, f"{name}-node-0-a0", Exit(code=7, message="no such file"))
    with pytest.raises(FailedError, match=r"exit code 7.*no such file"):
        job.wait(120)


def test_suspended_resumed_and_out_of_time(stage: Stage, client: Client, name: str) -> None:
    job = client.train(name, func=nothing, run_policy={"suspend": True})
    with pytest.raises(WaitTimeoutError, match="not ready after 1 s"):
        job.wait(1)
    job.resume()
    stage.until_running(NS, name)
    job.suspend()
    stage.until_condition(NS, name, "Suspended")


def test_the_same_call_again_is_the_same_job(client: Client, name: str) -> None:
    paused: dict[str, Any] = {"run_policy": {"suspend": True}}
    job = client.train(name, func=nothing, **paused)
    again = client.train(name, func=nothing, **paused)
    assert again.document["metadata"]["uid"] == job.document["metadata"]["uid"]
    with pytest.raises(ExistsError, match="another spec"):
        client.train(name, func=nothing, num_nodes=3, **paused)
    assert name in [one.name for one in client.list("trainingjobs")]


def test_a_job_that_is_deleted_meanwhile_ends_the_wait(client: Client, name: str) -> None:
    job = client.train(name, func=nothing)
    threading.Timer(1.0, job.delete).start()
    with pytest.raises(MissingError):
        job.wait(120)


def test_what_the_server_refuses_is_told_in_its_words(stage: Stage, client: Client, name: str) -> None:
    with pytest.raises(MissingError):
        Client("no-such-namespace", kubeconfig=stage.plane.kubeconfig).train(name, func=nothing)
    with pytest.raises(MissingError, match="no pod"):
        client.train(name, func=nothing, run_policy={"suspend": True}).logs()
    assert b"gitVersion" in client._connection.request("GET", "/version", None, {}, 30)
    with pytest.raises(MissingError, match="nobody"):
        Client(NS, kubeconfig=stage.plane.kubeconfig)._connection.request(
            "GET", f"/api/v1/namespaces/{NS}/services/nobody:http/proxy/", None, {}, 30
        )
    with pytest.raises(SpecError, match="numNodes"):
        client._connection.patch("trainingjobs", name, {"spec": {"numNodes": "many"}})


def test_a_cluster_that_is_not_there(tmp_path: Any, stage: Stage, name: str) -> None:
    with pytest.raises(UnreachableError, match="no cluster"):
        Client(kubeconfig=tmp_path / "none").train(name, func=nothing)
    known = yaml.safe_load(stage.plane.kubeconfig.read_text())
    stranger = copy.deepcopy(known)
    known["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "dead").write_text(yaml.safe_dump(known))
    with pytest.raises(UnreachableError, match="cannot be reached"):
        Client(NS, kubeconfig=tmp_path / "dead").train(name, func=nothing)
    stranger["users"][0]["user"] = {"token": "nobody's"}
    (tmp_path / "stranger").write_text(yaml.safe_dump(stranger))
    with pytest.raises(DeniedError):
        Client(NS, kubeconfig=tmp_path / "stranger").train(name, func=nothing)
