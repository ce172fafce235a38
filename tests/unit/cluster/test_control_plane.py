"""A control plane of its own starts, authenticates, counts requests and ends; the scripted kubelet moves pods on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.rest import ApiError, Client
from tests.cluster.scripted.kubelet import ScriptedKubelet
from tests.cluster.scripted.script import Exit, Script

pytestmark = pytest.mark.api
PODS = "/api/v1/namespaces/default/pods"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane"), audit=True) as started:
        yield started


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x", **spec}]},
    }


async def until(condition: Callable[[], Any], seconds: float = 90) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := await asyncio.to_thread(condition)):
        assert time.monotonic() < deadline, "did not happen in time"
        await asyncio.sleep(0.05)
    return found


def status(plane: ControlPlane, name: str) -> dict[str, Any]:
    return dict(plane.client.get(f"{PODS}/{name}")["status"])


def allowed(client: Client) -> Any:
    """The pods, or None while the server refuses them."""
    try:
        return client.get(PODS)
    except ApiError:
        return None


def gone(plane: ControlPlane, name: str) -> bool:
    try:
        plane.client.get(f"{PODS}/{name}")
    except ApiError as error:
        return error.code == 404
    return False


async def test_users_and_accounts_hold_only_what_rbac_grants(plane: ControlPlane) -> None:
    for config in (
        plane.kubeconfig_for_user("eve", ["devs"]),
        plane.kubeconfig_for_service_account("default", "default"),
    ):
        with pytest.raises(ApiError, match="pods is forbidden") as refused:
            Client(config).get(PODS)
        assert refused.value.code == 403
    role = {"metadata": {"name": "eve"}, "roleRef": {"kind": "ClusterRole", "name": "view", "apiGroup": ""}}
    role["subjects"] = [{"kind": "Group", "name": "devs", "apiGroup": "rbac.authorization.k8s.io"}]
    plane.client.apply("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", role)
    # The authorizer hears of the binding from a watch.
    granted = Client(plane.kubeconfig_for_user("eve", ["devs"]))
    assert (await until(lambda: allowed(granted)))["kind"] == "PodList"


def test_a_token_is_good_for_its_audience_alone(plane: ControlPlane) -> None:
    token = plane.token("default", "default", ["progress.slipway.dev"])
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}

    def reviewed(audience: str) -> dict[str, Any]:
        spec = {"token": token, "audiences": [audience]}
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return dict(plane.client.call("POST", path, {**review, "spec": spec})["status"])

    assert reviewed("progress.slipway.dev")["user"]["username"] == "system:serviceaccount:default:default"
    assert not reviewed("elsewhere").get("authenticated")


def test_the_audit_log_counts_each_request(plane: ControlPlane) -> None:
    before = len(plane.audit_events("slipway-test-cluster"))
    for _ in range(3):
        plane.client.get("/api/v1/namespaces/default")
    events = plane.audit_events("slipway-test-cluster")[before:]
    assert [(e["verb"], e["objectRef"]["resource"]) for e in events] == [("get", "namespaces")] * 3


async def test_pods_live_as_scripted(plane: ControlPlane) -> None:
    by_name = {
        "good": Script(exit=Exit(message="done")),
        "killed": Script(exit=Exit(signal=9)),
        "oom": Script(exit=Exit(code=137, reason="OOMKilled")),
        "nowhere": Script(unschedulable="0/2 nodes are available"),
        "no-image": Script(waiting="ErrImagePull", waiting_message="not found"),
    }
    async with ScriptedKubelet(plane.kubeconfig, script=lambda p: by_name[p["metadata"]["name"]]):
        for name in by_name:
            plane.client.call("POST", PODS, pod(name))
        ends = {}
        for name in ("good", "killed", "oom"):
            ended = await until(lambda n=name: "terminated" in str(s := status(plane, n)) and s)
            ends[name] = (ended["phase"], ended["containerStatuses"][0]["state"]["terminated"])
        assert (ends["good"][0], ends["good"][1]["message"]) == ("Succeeded", "done")
        assert (ends["killed"][0], ends["killed"][1]["signal"]) == ("Failed", 9)
        assert (ends["oom"][1]["exitCode"], ends["oom"][1]["reason"]) == (137, "OOMKilled")
        nowhere = await until(lambda: status(plane, "nowhere").get("conditions"))
        assert nowhere[0]["reason"] == "Unschedulable"
        image = await until(lambda: status(plane, "no-image").get("containerStatuses"))
        assert image[0]["state"]["waiting"]["reason"] == "ErrImagePull"
        for name in by_name:
            plane.client.call("DELETE", f"{PODS}/{name}")
        for name in by_name:
            await until(lambda n=name: gone(plane, n))


async def test_a_pod_waits_for_a_free_gpu(plane: ControlPlane) -> None:
    wants = {"resources": {"limits": {"nvidia.com/gpu": "4"}}}
    async with ScriptedKubelet(
        plane.kubeconfig, nodes={"node-0": {"nvidia.com/gpu": "4"}}, script=lambda _: Script(runs_for=None)
    ) as kubelet:
        plane.client.call("POST", PODS, pod("first", **wants))
        await kubelet.running("default", "first")
        plane.client.call("POST", PODS, pod("second", **wants))
        waiting = await until(lambda: status(plane, "second").get("conditions"))
        assert "Insufficient nvidia.com/gpu" in waiting[0]["message"]
        await kubelet.finish("default", "first")
        await kubelet.running("default", "second")
        assert status(plane, "first")["phase"] == "Succeeded"
        for name in ("first", "second"):
            plane.client.call("DELETE", f"{PODS}/{name}")
        await until(lambda: gone(plane, "second"))


async def test_a_lost_node_keeps_its_pods_until_they_are_forced_away(plane: ControlPlane) -> None:
    async with ScriptedKubelet(plane.kubeconfig, script=lambda _: Script(node="node-0", runs_for=None)) as kubelet:
        for name in ("ghost", "back"):
            plane.client.call("POST", PODS, pod(name))
            await kubelet.running("default", name)
        await kubelet.lose_node("node-0")
        node = plane.client.get("/api/v1/nodes/node-0")
        assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "Unknown"
        for name in ("ghost", "back"):
            plane.client.call("DELETE", f"{PODS}/{name}")
        await asyncio.sleep(0.5)  # long enough for a kubelet that is there
        assert "deletionTimestamp" in plane.client.get(f"{PODS}/ghost")["metadata"]
        plane.client.call("DELETE", f"{PODS}/ghost?gracePeriodSeconds=0")
        await kubelet.return_node("node-0")
        await until(lambda: gone(plane, "back"))
