"""From a pod's projected token to a report: real TokenReview, real TLS, and a client made of the standard library.

The client does what the Hugging Face callback and Kubeflow's documented raw-HTTP example do with the three variables.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from slipway.runtime.client.kube import PODS, Kube
from slipway.runtime.client.resource import Object, Resource
from slipway.runtime.self_signed import certificate
from slipway.runtime.servers.progress import Report
from slipway.runtime.servers.progress_server import Owner, ProgressServer, ProgressSink
from slipway.runtime.servers.server import listening
from slipway.runtime.servers.token_review import PodIdentity, TokenReviewer
from tests.api.runtime.waiting import until
from tests.cluster.local.control_plane import ControlPlane

pytestmark = pytest.mark.api

JOBS = Resource("slipway.dev", "v1alpha1", "trainingjobs", "TrainingJob")
AUDIENCE = "slipway.dev/status"
BODY = {
    "trainerStatus": {
        "progressPercentage": 42,
        "estimatedRemainingSeconds": 120,
        "metrics": [{"name": "loss", "value": "0.123"}],
        "lastUpdatedTime": "2026-08-21T10:00:00.5+00:00",
    }
}


@dataclass
class Endpoint:
    url: str
    authority: Path
    pod: Object
    stranger: Object
    accepted: list[Report] = field(default_factory=list)

    async def post(self, token: str, name: str = "digits", body: Any = BODY) -> int:
        namespace = self.pod["metadata"]["namespace"]
        return await asyncio.to_thread(_post, self, JOBS.path(namespace, name, "status"), token, json.dumps(body))


def _post(endpoint: Endpoint, path: str, token: str, body: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(endpoint.url + path, body.encode(), headers)
    try:
        trust = ssl.create_default_context(cafile=str(endpoint.authority))
        with urllib.request.urlopen(request, context=trust, timeout=10) as response:
            return int(response.status)
    except HTTPError as error:
        return int(json.load(error)["code"])


@pytest.fixture
async def endpoint(kube: Kube, namespace: str, plane: ControlPlane, tmp_path: Path) -> AsyncIterator[Endpoint]:
    await until(lambda: _has_account(plane, namespace))
    pods = [await kube.create(PODS, _pod(namespace, name)) for name in ("ours", "stranger")]
    made = certificate(("127.0.0.1",))
    (tmp_path / "ca.crt").write_text(made.authority)
    state = Endpoint("", tmp_path / "ca.crt", *pods)

    def find_owner(where: str, name: str, pod: PodIdentity) -> Owner | None:
        ours = pods[0]["metadata"]
        return Owner("job", (pod.uid, pod.name) == (ours["uid"], ours["name"])) if name == "digits" else None

    listener = ProgressSink(JOBS, find_owner, lambda *parts: state.accepted.append(parts[-1]))
    server = ProgressServer([listener], TokenReviewer(kube, AUDIENCE))
    async with listening(server.app(), 0, host="127.0.0.1", tls=made.context()) as port:
        state.url = f"https://127.0.0.1:{port}"
        yield state


async def _has_account(plane: ControlPlane, namespace: str) -> bool:
    accounts = plane.client.get(f"/api/v1/namespaces/{namespace}/serviceaccounts")["items"]
    return any(account["metadata"]["name"] == "default" for account in accounts)


def _pod(namespace: str, name: str) -> Object:
    spec = {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "none"}]}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


async def test_who_may_post_and_who_may_not(endpoint: Endpoint, plane: ControlPlane, namespace: str) -> None:
    ours = plane.token(namespace, "default", [AUDIENCE], pod=endpoint.pod)
    assert await endpoint.post(ours) == 200
    assert endpoint.accepted == [Report(42, 120, {"loss": "0.123"}, "2026-08-21T10:00:00Z")]
    assert await endpoint.post(ours, name="other") == 404
    assert await endpoint.post(ours, body={"trainerStatus": {"progressPercentage": 200}}) == 422
    assert await endpoint.post(plane.token(namespace, "default", [AUDIENCE], pod=endpoint.stranger)) == 403
    assert await endpoint.post(plane.token(namespace, "default", [AUDIENCE])) == 401, "not bound to a pod"
    assert await endpoint.post(plane.token(namespace, "default", pod=endpoint.pod)) == 401, "meant for the API server"
    assert await endpoint.post(plane.token(namespace, "default", ["elsewhere"], pod=endpoint.pod)) == 401
    assert await endpoint.post(ours[:-6] + "AAAAAA") == 401, "a signature that does not fit"
    assert await endpoint.post("nonsense") == 401
    assert len(endpoint.accepted) == 1
