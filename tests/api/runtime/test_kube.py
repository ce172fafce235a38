"""The client against a real API server: every error it types, every precondition it relies on."""

from __future__ import annotations

import contextlib

import pytest

from slipway.runtime.client import errors as e
from slipway.runtime.client import kube as kube_module
from slipway.runtime.client.kube import CONFIGMAPS, EVENTS, LEASES, NODES, PODS, Kube, KubeConfig, Resource
from slipway.runtime.client.resource import Object, uid_of
from tests.api.runtime.waiting import until
from tests.cluster.local.control_plane import ControlPlane

pytestmark = pytest.mark.api

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
QUOTAS = Resource("", "v1", "resourcequotas", "ResourceQuota")
BOATS = Resource("test.slipway.dev", "v1", "boats", "Boat")
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
BOAT_CRD = {
    "metadata": {"name": "boats.test.slipway.dev"},
    "spec": {
        "group": BOATS.group,
        "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"masts": {"type": "integer", "maximum": 7}}},
                            "status": ANYTHING,
                        },
                    }
                },
            }
        ],
    },
}


def config_map(namespace: str, name: str, **labels: str) -> Object:
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "data": {"k": "v"}}


def pod(namespace: str, name: str) -> Object:
    spec = {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "none"}]}
    return {"metadata": {"namespace": namespace, "name": name}, "spec": spec}


@pytest.fixture
async def boats(kube: Kube) -> Resource:
    with contextlib.suppress(e.AlreadyExists):
        await kube.create(CRDS, BOAT_CRD)
    await until(lambda: kube.serves(BOATS))
    return BOATS


async def test_create_get_patch_delete(kube: Kube, namespace: str) -> None:
    made = await kube.create(CONFIGMAPS, config_map(namespace, "a"))
    assert await kube.get(CONFIGMAPS, namespace, "a") == made
    changed = await kube.patch(CONFIGMAPS, namespace, "a", {"data": {"k": None, "l": "w"}})
    assert changed["data"] == {"l": "w"}
    gone = await kube.delete(CONFIGMAPS, namespace, "a", uid=uid_of(made))
    assert gone["kind"] == "Status"
    with pytest.raises(e.NotFound):
        await kube.get(CONFIGMAPS, namespace, "a")


async def test_a_dry_run_leaves_nothing(kube: Kube, namespace: str) -> None:
    await kube.create(CONFIGMAPS, config_map(namespace, "dry"), dry_run=True)
    with pytest.raises(e.NotFound):
        await kube.get(CONFIGMAPS, namespace, "dry")


async def test_typed_refusals(kube: Kube, namespace: str, boats: Resource) -> None:
    made = await kube.create(CONFIGMAPS, config_map(namespace, "a"))
    with pytest.raises(e.AlreadyExists):
        await kube.create(CONFIGMAPS, config_map(namespace, "a"))
    with pytest.raises(e.Conflict):
        await kube.delete(CONFIGMAPS, namespace, "a", uid="00000000-0000-0000-0000-000000000000")
    with pytest.raises(e.Conflict):
        await kube.replace(CONFIGMAPS, made | {"metadata": made["metadata"] | {"resourceVersion": "1"}})
    with pytest.raises(e.Invalid) as invalid:
        await kube.create(boats, {**pod(namespace, "b"), "apiVersion": "test.slipway.dev/v1", "kind": "Boat",
                                  "spec": {"masts": 9}})  # fmt: skip
    assert "masts" in invalid.value.message
    with pytest.raises(e.NotFound):
        await kube.create(CONFIGMAPS, config_map("no-such-namespace", "a"))
    with pytest.raises(e.ApiError) as bad:
        await kube.create(PODS, {"metadata": {"namespace": namespace, "name": "p"}, "spec": "text"})
    assert not e.retryable(bad.value)


async def test_quota_and_rbac_are_forbidden_in_words(kube: Kube, namespace: str, plane: ControlPlane) -> None:
    quota = {"metadata": {"namespace": namespace, "name": "q"}, "spec": {"hard": {"pods": "0"}}}
    await kube.create(QUOTAS, quota)

    async def counted() -> bool:
        return "hard" in (await kube.get(QUOTAS, namespace, "q")).get("status", {})

    await until(counted)
    with pytest.raises(e.Forbidden, match="exceeded quota"):
        await kube.create(PODS, pod(namespace, "p"))
    async with Kube(KubeConfig.load(plane.kubeconfig_for_user("eve"))) as eve:
        with pytest.raises(e.Forbidden, match="eve"):
            await eve.list(PODS, namespace)


async def test_a_terminating_namespace_says_so(kube: Kube, namespace: str) -> None:
    held = config_map(namespace, "held")
    held["metadata"]["finalizers"] = ["slipway.dev/test"]
    await kube.create(CONFIGMAPS, held)
    namespaces = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
    await kube.delete(namespaces, None, namespace)
    with pytest.raises(e.Forbidden) as refused:
        await kube.create(CONFIGMAPS, config_map(namespace, "late"))
    assert "it is being terminated" in str(refused.value)
    await kube.patch(CONFIGMAPS, namespace, "held", {"metadata": {"finalizers": None}})


async def test_a_made_up_token_is_unauthorized(plane: ControlPlane) -> None:
    admin = KubeConfig.load(plane.kubeconfig)
    async with Kube(KubeConfig(server=admin.server, ssl=_trusting(admin), token="made.up.token")) as nobody:
        with pytest.raises(e.Unauthorized):
            await nobody.list(PODS, "default")


def _trusting(config: KubeConfig) -> object:
    """The same authority, without the administrator's client certificate."""
    import ssl

    assert config.ssl is not None
    context = ssl.create_default_context()
    context.load_verify_locations(
        cadata="".join(ssl.DER_cert_to_PEM_cert(der) for der in config.ssl.get_ca_certs(binary_form=True))
    )
    return context


async def test_a_status_write_is_guarded_by_its_version_and_by_nothing_else(
    kube: Kube, namespace: str, boats: Resource
) -> None:
    boat = {"apiVersion": "test.slipway.dev/v1", "kind": "Boat", "metadata": {"namespace": namespace, "name": "b"}}
    made = await kube.create(boats, boat | {"spec": {"masts": 3}})
    first = made["metadata"]["resourceVersion"]
    written = await kube.patch_status(boats, namespace, "b", {"restartCount": 1}, resource_version=first)
    assert written["status"] == {"restartCount": 1}
    assert written["spec"] == {"masts": 3}
    with pytest.raises(e.Conflict):
        await kube.patch_status(boats, namespace, "b", {"restartCount": 9}, resource_version=first)
    same = await kube.patch_status(boats, namespace, "b", {"restartCount": 1})
    assert same["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"], "a no-op moves nothing"


async def test_lists_are_paged_selected_and_complete(
    kube: Kube, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kube_module, "PAGE", 3)
    made = [
        await kube.create(CONFIGMAPS, config_map(namespace, f"c{n}", mine="yes" if n % 2 else "no")) for n in range(8)
    ]
    for rv0 in (False, True):
        listing = await kube.list(CONFIGMAPS, namespace, selector="mine=yes", rv0=rv0)
        found = {i["metadata"]["name"]: i for i in listing.items}
        assert sorted(found) == ["c1", "c3", "c5", "c7"]
        assert found["c1"] == made[1], "with kind and apiVersion, as a get gives it"
    assert int(listing.resource_version) >= int(made[-1]["metadata"]["resourceVersion"]) - 8
    everywhere = await kube.list(CONFIGMAPS, None, selector="mine")
    assert {i["metadata"]["name"] for i in everywhere.items if i["metadata"]["namespace"] == namespace} == {
        f"c{n}" for n in range(8)
    }


async def test_apply_is_idempotent_and_leaves_others_fields_alone(kube: Kube, namespace: str) -> None:
    mine = {"metadata": {"namespace": namespace, "name": "a"}, "data": {"k": "v"}}
    first = await kube.apply(CONFIGMAPS, mine)
    await kube.patch(CONFIGMAPS, namespace, "a", {"data": {"theirs": "x"}})
    again = await kube.apply(CONFIGMAPS, mine)
    assert again["data"] == {"k": "v", "theirs": "x"}
    assert (await kube.apply(CONFIGMAPS, mine))["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert uid_of(first) == uid_of(again)


async def test_discovery(kube: Kube) -> None:
    assert all([await kube.serves(resource) for resource in (PODS, NODES, EVENTS, LEASES)])
    assert not await kube.serves(Resource("nothing.slipway.dev", "v1", "nothings", "Nothing"))


async def test_a_whole_pod_is_on_its_way_out_after_a_delete(kube: Kube, namespace: str) -> None:
    """What `Store.put_deleted` relies on: an immediate deletion answers with the object, not with a Status."""
    made = await kube.create(PODS, pod(namespace, "p"))
    answer = await kube.delete(PODS, namespace, "p", grace_seconds=0, uid=uid_of(made))
    assert answer["kind"] == "Pod"
    assert uid_of(answer) == uid_of(made)
    with pytest.raises(e.NotFound):
        await kube.get(PODS, namespace, "p")
