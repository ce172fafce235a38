"""A real webhook puts a container into every pod of a namespace, as service meshes do: all kinds end as without it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway.runtime.self_signed import certificate
from tests.api.inferenceservice.services import Town, predictor
from tests.api.operators import Operator
from tests.api.quantizationjob.acts import SHORT, play
from tests.api.quantizationjob.jobs import Jobs
from tests.api.stage import PODS, Stage, condition, marked
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
NS = "injected"
PROXY = {"name": "istio-proxy", "image": "proxy"}
HOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
BUILDS = "/apis/batch/v1/namespaces/{}/jobs"
Object = dict[str, Any]


class Injector(BaseHTTPRequestHandler):
    """Puts the proxy before the container that is there, the harder of both orders."""

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        patch = json.dumps([{"op": "add", "path": "/spec/containers/0", "value": PROXY}]).encode()
        answer = {"uid": review["request"]["uid"], "allowed": True, "patchType": "JSONPatch"}
        answer["patch"] = base64.b64encode(patch).decode()
        body = json.dumps({**{key: review[key] for key in ("apiVersion", "kind")}, "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (as the base class has it)
        """Silent."""


@pytest.fixture(scope="module")
def injector() -> Iterator[Object]:
    """The webhook, as a MutatingWebhookConfiguration names it."""
    made = certificate(("127.0.0.1",))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Injector)
    server.socket = made.context().wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    authority = base64.b64encode(made.authority.encode()).decode()
    yield {"url": f"https://127.0.0.1:{server.server_port}/", "caBundle": authority}
    server.shutdown()


@pytest.fixture(scope="module")
def meshed(stage: Stage, operators: Callable[..., Operator], injector: Object) -> Iterator[Operator]:
    """The namespace, an operator for it, and the configuration."""
    stage.namespace(NS, injected="yes")
    hook = {
        "name": "injector.example.com",
        "clientConfig": injector,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"injected": "yes"}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    stage.plane.client.call("POST", HOOKS, {**kind, "metadata": {"name": "injector"}, "webhooks": [hook]})
    probe = {"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "main", "image": "x"}]}}
    until_injected(stage, probe)
    yield operators(NS, SLIPWAY_SERVER_IMAGE="registry.example.com/slipway/server:test")
    stage.plane.client.call("DELETE", f"{HOOKS}/injector")


def until_injected(stage: Stage, probe: Object) -> None:
    """The server takes a new configuration, and the namespace's labels, up a moment later; a busy one later still."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        body = {**probe, "metadata": {"name": f"probe-{time.monotonic_ns()}"}}
        try:
            made = stage.plane.client.call("POST", f"{PODS.format(NS)}?dryRun=All", body)
        except ApiError:  # the namespace's service account has no token yet
            made = probe
        if len(made["spec"]["containers"]) > 1:
            return
        time.sleep(0.05)
    raise AssertionError("the webhook is never called")


def goes_on(how: Exit | None = None) -> Exit:
    return replace(how or Exit(), others={PROXY["name"]: None})


def both(pods: dict[str, Object]) -> bool:
    return all(pod["spec"]["containers"][0]["name"] == PROXY["name"] for pod in pods.values())


@pytest.mark.usefixtures("meshed")
def test_a_training_job_ends_although_the_proxies_go_on_and_its_pods_are_ended(stage: Stage, name: str) -> None:
    stage.scripts[name] = lambda pod: Script(exit=goes_on(), runs_for=0.1)
    stage.create(NS, name, numNodes=2, runPolicy={"cleanPodPolicy": "None"})
    assert both(stage.until_pods(NS, name, lambda pods: len(pods) == 2))
    status = stage.until_condition(NS, name, "Succeeded")
    assert status["restartCount"] == 0
    assert status["replicaStatuses"]["succeeded"] == 2
    # After the pause in which the proxies may end by themselves.
    stage.until_pods(NS, name, lambda pods: not pods, seconds=40)


@pytest.mark.usefixtures("meshed")
def test_a_training_job_whose_program_fails_beside_a_proxy_that_goes_on_starts_again(stage: Stage, name: str) -> None:
    first = Script(exit=goes_on(Exit(code=3, message="no such file")), runs_for=0.1)
    stage.scripts[name] = lambda pod: first if pod["metadata"]["name"].endswith("-a0") else Script(runs_for=0.1)
    stage.create(NS, name)
    status = stage.until_condition(NS, name, "Succeeded")
    assert status["restartCount"] == 1
    failure = status["lastFailure"]
    assert (failure["container"], failure["exitCode"], failure["message"]) == ("trainer", 3, "no such file")


@pytest.mark.usefixtures("meshed")
def test_the_proxys_own_failure_is_not_the_jobs(stage: Stage, name: str) -> None:
    killed = Exit(message="words", others={PROXY["name"]: Exit(code=137, message="proxy")})
    stage.scripts[name] = lambda pod: Script(exit=killed, runs_for=0.1)
    stage.create(NS, name)
    status = stage.until_condition(NS, name, "Succeeded")
    assert status["restartCount"] == 0
    assert "lastFailure" not in status


@pytest.mark.usefixtures("meshed")
def test_a_quantization_job_goes_through_its_stages_although_the_proxies_go_on(stage: Stage, name: str) -> None:
    plain = play(SHORT)

    def script(pod: Object) -> Script:
        told = plain(pod)
        return replace(told, exit=goes_on(told.exit))

    jobs = Jobs(stage)
    jobs.create(NS, name, script)
    status = jobs.until_condition(NS, name, "Succeeded", seconds=60)
    assert status["artifact"]["uri"] == "pvc://models/int8"
    assert status["restartCount"] == 0


@pytest.mark.parametrize("beside", [None, Exit(code=1)], ids=["goes on", "fails"])
def test_an_engine_that_was_built_beside_a_proxy_is_not_built_again(
    stage: Stage, meshed: Operator, name: str, beside: Exit | None
) -> None:
    town = Town(stage, NS)
    built = Exit(message=json.dumps({"engine": {"key": "0f", "architecture": "sm89"}}), others={PROXY["name"]: beside})
    build = Script(exit=built, runs_for=0.1)
    stage.scripts[name] = lambda pod: build if "build" in containers(pod) else Script(runs_for=None)
    town.create(name, predictor=predictor(engine={"name": "tensorrt", "cache": {"uri": "pvc://engines/cache"}}))
    status = town.until_ready(name, seconds=60)
    assert marked(status, "EngineReady", "True", "EngineBuilt")
    assert status["engine"]["architecture"] == "sm89"
    stage.until_gone(town.path(BUILDS), status["engine"]["job"])
    pods = stage.until_pods(NS, name, lambda all_: not any("build" in containers(pod) for pod in all_.values()))
    assert both(pods)
    assert condition(town.status(name), "EngineReady")["status"] == "True"  # type: ignore[index]
    assert meshed.running(), meshed.tail()
    assert "Traceback" not in Path(meshed.log).read_text(), meshed.tail()


def containers(pod: Object) -> list[str]:
    return [container["name"] for container in pod["spec"]["containers"]]
