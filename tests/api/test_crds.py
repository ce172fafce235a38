"""A real API server takes our CRDs and does with objects what the unit tests' Python says it does."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from slipway.api.codegen.crd import KINDS
from slipway.api.common.types import API_VERSION
from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import TrainingJobStatus
from tests.cluster import install
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.rest import ApiError, Client
from tests.unit.api.admission import schema_of, with_defaults
from tests.unit.api.manifests import FULL, WRONG, Wrong, job, merged

pytestmark = pytest.mark.api

EXAMPLES = Path(__file__).parents[2] / "manifests" / "examples"
JOBS = f"/apis/{API_VERSION}/namespaces/default/trainingjobs"
# Kubernetes 1.20 built with a Go of today takes every empty string for null, and refuses it.
EMPTY_STRINGS = {"empty command"}
FULL_STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "Error", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "Stalled", "status": "True", "reason": "Error", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ],
    "specDigest": "sha256:" + "0" * 64,
    "attempt": 2,
    "restartCount": 2,
    "restartCountTowardsMax": 1,
    "disruptionCount": 3,
    "queuedTime": "2026-01-01T00:00:00Z",
    "startTime": "2026-01-01T00:00:00Z",
    "attemptTime": "2026-01-01T00:01:00Z",
    "runningTime": "2026-01-01T00:02:00Z",
    "activeSeconds": 60,
    "completionTime": "2026-01-01T00:03:00Z",
    "nodes": 2,
    "selector": "slipway.dev/job-uid=1",
    "lastFailure": {
        "pod": "digits-node-1-a1",
        "node": "n",
        "container": "trainer",
        "exitCode": 137,
        "signal": "SIGKILL",
        "reason": "OOMKilled",
        "message": "Killed",
        "time": "2026-01-01T00:02:30Z",
        "attempt": 1,
    },
    "replicaStatuses": {"desired": 2, "active": 1, "ready": 1, "succeeded": 1, "failed": 0},
    "progress": {
        "percent": 50,
        "step": 5,
        "totalSteps": 10,
        "estimatedRemainingSeconds": 3,
        "metrics": [{"name": "loss", "value": "0.25"}],
        "lastUpdatedTime": "2026-01-01T00:02:30.123456Z",
    },
    "artifact": {
        "uri": "pvc://artifacts/x",
        "digest": "sha256:" + "a" * 64,
        "metrics": [{"name": "accuracy", "value": "0.98"}],
    },
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("crds"), controller_manager=None) as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl, with the CRDs applied as a user applies them."""
    command = Kubectl(plane.kubeconfig)
    install.apply_crds(command)
    return command


@pytest.fixture(scope="module")
def client(plane: ControlPlane, kubectl: Kubectl) -> Client:
    return plane.client


@pytest.fixture(scope="module")
def has_cel(kubectl: Kubectl) -> bool:
    return kubectl.server_version() >= install.CEL_SINCE


@pytest.fixture
def stored(client: Client, request: pytest.FixtureRequest) -> Iterator[str]:
    """A TrainingJob on the server; its name."""
    name = f"t-{abs(hash(request.node.name)) % 10**8}"
    client.call("POST", JOBS, job(FULL, name))
    yield name
    client.call("DELETE", f"{JOBS}/{name}")


def test_applying_the_crds_again_changes_nothing(kubectl: Kubectl):
    before = {kind.plural: kubectl.get("crd", f"{kind.plural}.slipway.dev")["metadata"] for kind in KINDS}
    install.apply_crds(kubectl)
    for kind in KINDS:
        after = kubectl.get("crd", f"{kind.plural}.slipway.dev")["metadata"]
        assert after["resourceVersion"] == before[kind.plural]["resourceVersion"]


def test_the_server_finds_no_fault_in_the_schemas(kubectl: Kubectl):
    for kind in KINDS:
        conditions = kubectl.get("crd", f"{kind.plural}.slipway.dev")["status"]["conditions"]
        found = {condition["type"]: condition["status"] for condition in conditions}
        assert found.get("Established") == "True"
        assert "NonStructuralSchema" not in found


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_server_takes_an_example(kubectl: Kubectl, path: Path):
    assert "(server dry run)" in kubectl("apply", "--dry-run=server", "-f", str(path))


def test_kubectl_refuses_a_misspelt_field(kubectl: Kubectl):
    misspelt = job(merged(FULL, {"numNode": 3}))
    with pytest.raises(KubectlError, match=r"unknown field.*numNode"):
        kubectl.apply([misspelt], "--dry-run=server")


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_the_server_refuses_what_it_can(client: Client, has_cel: bool, wrong: Wrong):
    create = functools.partial(client.call, "POST", f"{JOBS}?dryRun=All", wrong.manifest)
    if wrong.by == "schema" or (wrong.by == "cel" and has_cel) or (wrong.name in EMPTY_STRINGS and not has_cel):
        with pytest.raises(ApiError) as refusal:
            create()
        assert refusal.value.code == 422
    else:
        assert create()["metadata"]["name"] == wrong.job_name


def test_a_new_object_shows_defaults_and_an_unhealthy_status(client: Client, stored: str):
    found = client.get(f"{JOBS}/{stored}")
    expected = with_defaults(job(FULL, stored), schema_of(trainingjob.KIND))
    assert found["spec"] == expected["spec"]
    assert found["status"] == expected["status"]
    assert found["status"]["observedGeneration"] == -1


@pytest.mark.parametrize("status", ["True", "False", "Unknown"])
def test_kubectl_wait_believes_no_condition_before_the_operator_has_spoken(kubectl: Kubectl, stored: str, status: str):
    with pytest.raises(KubectlError, match="timed out"):
        kubectl("wait", f"tj/{stored}", f"--for=condition=Ready={status}", "--timeout=1s")


def test_the_scale_subresource_reads_and_writes_the_number_of_nodes(client: Client, kubectl: Kubectl, stored: str):
    client.patch(f"{JOBS}/{stored}", {"spec": {"runPolicy": {"suspend": True}}})
    kubectl("scale", f"tj/{stored}", "--replicas=4")
    assert client.get(f"{JOBS}/{stored}")["spec"]["numNodes"] == 4
    client.patch(f"{JOBS}/{stored}/status", {"status": {"nodes": 2, "selector": "slipway.dev/job-uid=1"}})
    scale = client.get(f"{JOBS}/{stored}/scale")
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 2, "selector": "slipway.dev/job-uid=1"}
    with pytest.raises(ApiError, match="numNodes"):
        client.patch(f"{JOBS}/{stored}/scale", {"spec": {"replicas": 1001}})


def test_a_whole_status_is_kept_and_touches_nothing_else(client: Client, stored: str):
    assert TrainingJobStatus.model_validate(FULL_STATUS).wire().keys() == FULL_STATUS.keys()
    before = client.get(f"{JOBS}/{stored}")
    patch = {"status": FULL_STATUS, "spec": {"numNodes": 9}, "metadata": {"labels": {"a": "b"}}}
    after = client.patch(f"{JOBS}/{stored}/status", patch)
    assert after["status"] == FULL_STATUS
    assert after["spec"] == before["spec"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.parametrize(
    "status",
    [
        {"progress": {"percent": 101}},
        {"artifact": {"uri": "pvc://a/b", "digest": "md5:1"}},
        {
            "conditions": [
                {"type": "Ready", "status": "Maybe", "reason": "X", "lastTransitionTime": "2026-01-01T00:00:00Z"}
            ]
        },
    ],
    ids=["percent", "digest", "condition"],
)
def test_a_wrong_status_is_refused(client: Client, stored: str, status: dict[str, object]):
    with pytest.raises(ApiError) as refusal:
        client.patch(f"{JOBS}/{stored}/status", {"status": status})
    assert refusal.value.code == 422


def test_kubectl_get_tells_the_story(client: Client, kubectl: Kubectl, stored: str):
    client.patch(f"{JOBS}/{stored}/status", {"status": FULL_STATUS})
    header, row = (line.split() for line in kubectl("get", "tj", stored).splitlines())
    assert header == ["NAME", "READY", "REASON", "NODES", "PROGRESS", "RESTARTS", "AGE"]
    assert row[:-1] == [stored, "False", "Error", "2", "50", "2"]
    wide = kubectl("get", "ml", "-o", "wide")
    assert "ARTIFACT" in wide
    assert "pvc://artifacts/x" in wide


def test_kubectl_explain_describes_every_step_of_the_way(kubectl: Kubectl):
    assert "Passes over the data" in kubectl("explain", "trainingjob.spec.recipe.epochs")
    assert "SIGTERM" in kubectl("explain", "tj.spec.runPolicy.suspend")


def test_applying_an_object_again_changes_nothing(kubectl: Kubectl, client: Client, tmp_path: Path):
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump(job(FULL, "applied")))
    kubectl("apply", "-f", str(manifest))
    before = client.get(f"{JOBS}/applied")["metadata"]["resourceVersion"]
    assert "unchanged" in kubectl("apply", "-f", str(manifest))
    assert kubectl("diff", "-f", str(manifest)) == ""
    assert client.get(f"{JOBS}/applied")["metadata"]["resourceVersion"] == before


def test_transitions_are_refused_where_the_server_has_cel(client: Client, has_cel: bool, stored: str):
    if not has_cel:
        pytest.skip("the server is older than 1.25 and drops CEL rules; unit tests evaluate them")
    with pytest.raises(ApiError, match="numNodes can be changed only while the job is suspended"):
        client.patch(f"{JOBS}/{stored}", {"spec": {"numNodes": 4}})
    with pytest.raises(ApiError, match="recipe cannot be changed"):
        client.patch(f"{JOBS}/{stored}", {"spec": {"recipe": {"epochs": 99}}})
