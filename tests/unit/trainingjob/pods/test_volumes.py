"""Which volumes a job's pods get: /dev/shm, and the claims that its URIs name."""

from __future__ import annotations

import re
from typing import Any

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import spec_problems
from tests.unit.api.admission import Admission
from tests.unit.trainingjob.rendered import RECIPE, job_of, pod_of, resources


def _shm(job: Any) -> dict[str, Any] | None:
    pod = pod_of(job)
    mounted = [m["name"] for m in pod["spec"]["containers"][0]["volumeMounts"] if m["mountPath"] == "/dev/shm"]
    assert len(mounted) <= 1
    found = [v for v in pod["spec"]["volumes"] if v["name"] in mounted]
    return found[0] if found else None


def test_shared_memory_comes_with_processes_or_accelerators() -> None:
    assert _shm(job_of()) is None
    limited = _shm(job_of(numProcPerNode=2, trainer=resources(memory="3Gi")))
    assert limited == {"name": "slipway-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "3Gi"}}
    assert _shm(job_of(trainer=resources(**{"nvidia.com/gpu": 1}))) is not None
    assert _shm(job_of(recipe={**RECIPE, "dataWorkers": 2})) is not None


@pytest.mark.parametrize("processes", [1, 2])
def test_a_size_of_shared_memory_is_never_ignored(processes: int) -> None:
    """It was, for a lone process without loaders: that pod had the container runtime's 64 MiB."""
    limited = _shm(job_of(numProcPerNode=processes, sharedMemory={"sizeLimit": "8Gi"}))
    assert limited is not None
    assert limited["emptyDir"] == {"medium": "Memory", "sizeLimit": "8Gi"}


def test_claims_are_mounted_where_the_trainer_looks() -> None:
    long = "a" * 100 + ".b"
    uris = {
        "output": {"uri": "pvc://artifacts/out"},
        "checkpoint": {"uri": "pvc://artifacts/checkpoints"},
        "recipe": {**RECIPE, "dataset": {"name": "image-folder", "uri": f"pvc://{long}/images"}},
    }
    spec = pod_of(job_of(**uris))["spec"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"] for v in spec["volumes"] if "persistentVolumeClaim" in v
    }
    assert sorted(claims.values()) == [long, "artifacts"]
    assert all(re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name) for name in claims)
    mounts = {m["name"]: m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert {mounts[name]: claim for name, claim in claims.items()} == {
        "/mnt/pvc/artifacts": "artifacts",
        f"/mnt/pvc/{long}": long,
    }


def test_claims_with_a_long_common_beginning_get_volumes_of_their_own() -> None:
    uris = {
        "output": {"uri": f"pvc://{'a' * 90}-1/o"},
        "checkpoint": {"uri": f"pvc://{'a' * 90}-2/c"},
        "recipe": RECIPE,
    }
    volumes = [v["name"] for v in pod_of(job_of(**uris))["spec"]["volumes"]]
    assert len(set(volumes)) == len(volumes)


def test_weights_and_tokenizers_on_claims_are_mounted_too() -> None:
    """They were not: such a job was accepted, and its pods found no file."""
    model = {"name": "gpt2", "uri": "pvc://weights/gpt2.safetensors"}
    data = {"name": "text-files", "uri": "pvc://texts/all", "tokenizer": "pvc://tokenizers/gpt2/tokenizer.json"}
    spec = pod_of(job_of(recipe={**RECIPE, "model": model, "dataset": data}))["spec"]
    mounted = {m["mountPath"] for m in spec["containers"][0]["volumeMounts"]}
    assert mounted >= {"/mnt/pvc/weights", "/mnt/pvc/texts", "/mnt/pvc/tokenizers"}


def _claiming(**claim: Any) -> dict[str, Any]:
    asked = {"resources": {"requests": {"storage": "100Gi"}}, **claim}
    return {"volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {"spec": asked}}}]}


def test_a_claim_of_each_pods_own_is_kubernetes_own() -> None:
    """Seven public requests are for claims that come with the pods of a job."""
    pod = {**_claiming(), "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]}
    made = next(v for v in pod_of(job_of(pod=pod))["spec"]["volumes"] if v["name"] == "scratch")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Gi"}}}
    assert made["ephemeral"] == {"volumeClaimTemplate": {"spec": spec}}
    fast = _claiming(storageClassName="fast", accessModes=["ReadWriteOncePod"])
    made = next(v["ephemeral"] for v in pod_of(job_of(pod=fast))["spec"]["volumes"] if "ephemeral" in v)
    asked = made["volumeClaimTemplate"]["spec"]
    assert (asked["storageClassName"], asked["accessModes"]) == ("fast", ["ReadWriteOncePod"])


@pytest.mark.parametrize(
    "volume",
    [
        {**_claiming()["volumes"][0], "emptyDir": {}},
        {"name": "v", "ephemeral": {}},
        {"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {"requests": {}}}}}},
        _claiming(accessModes=[])["volumes"][0],
        _claiming(accessModes=["ReadOnlyMany"])["volumes"][0],
    ],
)
def test_a_claim_that_no_server_would_make_is_refused_by_server_and_operator_alike(volume: dict[str, Any]) -> None:
    spec = {"trainer": {"command": ["x"]}, "pod": {"volumes": [volume]}}
    job = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "j", "namespace": "n"}}
    assert Admission(trainingjob.KIND).refusals({**job, "spec": spec})
    assert spec_problems("j", spec)[1]
