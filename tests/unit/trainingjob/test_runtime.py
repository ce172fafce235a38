"""Runtimes of the platform: what a job takes of one, in which order, and what it does without."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.training.runtime import runtime_problems
from slipway.api.training.runtime_ref import RuntimeKind, RuntimeRef
from slipway.api.training.trainingjob import KIND, TrainingJobSpec
from slipway.gang.reconciler import _startup_deadline
from slipway.reconcile.plan import Plan
from slipway.trainingjob import runtime
from slipway.trainingjob.job import Cluster, Platform
from slipway.trainingjob.plan import plan
from slipway.trainingjob.queueing.claim import claim_of
from tests.unit.api.admission import schema_of, with_defaults
from tests.unit.api.manifests import FULL

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REF = RuntimeRef(name="a100")
GPU = {"limits": {"nvidia.com/gpu": 8, "memory": "800Gi", "cpu": 64}}
SPEC: dict[str, Any] = {
    "trainer": {
        "image": "registry.example.com/torch:2",
        "env": [{"name": "NCCL_DEBUG", "value": "WARN"}, {"name": "HF_HOME", "value": "/cache"}],
        "resourcesPerNode": GPU,
    },
    "pod": {
        "nodeSelector": {"gpu": "a100", "zone": "a"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "volumes": [{"name": "cache", "emptyDir": {}}],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    },
    "network": {"hostNetwork": True, "rdma": True},
    "runPolicy": {"startupDeadlineSeconds": 600},
    "failurePolicy": {"maxRestarts": 9, "rules": [{"action": "FailJob", "onExitCodes": {"values": [2]}}]},
    "nodeVolumes": [{"mountPath": "/scratch", "readOnly": False, "hostPath": {"path": "/mnt/nvme"}}],
}


def _copied(spec: dict[str, Any] = SPEC, ref: RuntimeRef = REF) -> dict[str, Any]:
    found = {"metadata": {"name": ref.name, "uid": "r1", "generation": 3}, "spec": spec}
    copied, problems = runtime.read(ref, found)
    assert copied is not None, problems
    return copied


def _spec(**said: Any) -> dict[str, Any]:
    """A job's spec as the API server hands it out, with all defaults filled in."""
    trainer = {"command": ["train"], **said.pop("trainer", {})}
    spec = {"runtimeRef": {"name": "a100"}, "trainer": trainer, **said}
    filled: dict[str, Any] = with_defaults({"spec": spec}, schema_of(KIND))["spec"]
    return filled


def _settled(spec: dict[str, Any], under: dict[str, Any] = SPEC) -> TrainingJobSpec:
    settled = runtime.settle(TrainingJobSpec.model_validate(spec), _copied(under))
    assert not settled.problems
    return settled.spec


def test_a_job_that_says_nothing_is_as_its_runtime_has_it() -> None:
    found = _settled(_spec())
    assert found.trainer.image == "registry.example.com/torch:2"
    assert found.trainer.resources_per_node.wire()["limits"]["nvidia.com/gpu"] == 8
    assert found.pod.node_selector == {"gpu": "a100", "zone": "a"}
    assert found.network.host_network
    assert found.failure_policy.max_restarts == 9
    assert found.run_policy.startup_deadline_seconds == 600
    assert found.trainer.command == ["train"]


def test_what_the_job_says_wins_field_by_field() -> None:
    mine = {"image": "mine:1", "env": [{"name": "HF_HOME", "value": "/mine"}, {"name": "X", "value": "1"}]}
    pod = {"nodeSelector": {"zone": "b"}, "tolerations": [{"key": "spot", "operator": "Exists"}]}
    rules = [{"action": "Restart", "onExitCodes": {"values": [3]}}]
    found = _settled(_spec(trainer=mine, pod=pod, failurePolicy={"rules": rules}))
    assert found.trainer.image == "mine:1"
    assert [(one.name, one.value) for one in found.trainer.env] == [
        ("NCCL_DEBUG", "WARN"), ("HF_HOME", "/mine"), ("X", "1"),
    ]  # fmt: skip
    assert found.pod.node_selector == {"gpu": "a100", "zone": "b"}
    assert [one.key for one in found.pod.tolerations] == ["nvidia.com/gpu", "spot"]
    # The first rule that matches decides.
    assert [rule.action.value for rule in found.failure_policy.rules] == ["Restart", "FailJob"]
    assert found.failure_policy.max_restarts == 9


def test_a_resource_that_the_job_names_is_the_jobs_alone() -> None:
    """A runtime's request above the job's own limit would be refused by the server."""
    under = {"trainer": {"resourcesPerNode": {"limits": {"nvidia.com/gpu": 8}, "requests": {"memory": "64Gi"}}}}
    found = _settled(_spec(trainer={"resourcesPerNode": {"limits": {"memory": "8Gi"}}}), under)
    assert found.trainer.resources_per_node.wire() == {
        "limits": {"nvidia.com/gpu": 8, "memory": "8Gi"},
        "requests": {},
    }


def test_terms_of_two_affinities_are_not_mixed() -> None:
    """Terms are alternatives: with the job's beside it the platform's would not bind any more."""

    def on(zone: str) -> dict[str, Any]:
        term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]}
        return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}

    found = _settled(_spec(pod={"affinity": on("b")}), {"pod": {"affinity": on("a")}})
    assert found.pod.affinity is not None
    assert found.pod.affinity.wire() == on("b")
    assert _settled(_spec(), {"pod": {"affinity": on("a")}}).pod.affinity.wire() == on("a")  # type: ignore[union-attr]


def test_an_empty_runtime_changes_nothing_of_the_largest_job() -> None:
    spec = TrainingJobSpec.model_validate({**copy.deepcopy(FULL), "runtimeRef": {"name": "a100"}})
    assert runtime.settle(spec, _copied({})).spec == spec


_TEXTS = st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["1", "2", "3"]), max_size=4)


@given(_TEXTS, _TEXTS)
def test_of_each_label_and_variable_the_jobs_value_wins_and_none_is_lost(
    mine: dict[str, str], theirs: dict[str, str]
) -> None:
    def part(pairs: dict[str, str]) -> dict[str, Any]:
        env = [{"name": name.upper(), "value": value} for name, value in pairs.items()]
        return {"trainer": {"env": env}, "pod": {"labels": pairs}}

    found = _settled(_spec(**part(mine)), part(theirs))
    assert found.pod.labels == {**theirs, **mine}
    assert {one.name.lower(): one.value for one in found.trainer.env} == {**theirs, **mine}


def _job(spec: dict[str, Any], status: dict[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": "digits", "namespace": "ml", "uid": "u1", "generation": 1}
    return {"metadata": metadata, "spec": spec, "status": status or {"observedGeneration": -1}}


def _look(job: dict[str, Any], found: dict[str, Any] | None) -> Plan:
    return plan(job, [], Platform("trainer:1"), NOW, cluster=Cluster(runtime=found))


def _found(spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": "a100", "uid": "r1", "generation": 3}, "spec": spec}


def test_the_copy_is_persisted_before_anything_is_created_and_holds_whatever_the_runtime_becomes() -> None:
    first = _look(_job(_spec()), _found(SPEC))
    assert first.persist_first
    assert not first.writes
    assert first.status is not None
    assert {k: first.status["runtime"][k] for k in ("kind", "name", "uid", "generation")} == {
        "kind": "ClusterTrainingRuntime", "name": "a100", "uid": "r1", "generation": 3,
    }  # fmt: skip
    later = _look(_job(_spec(), dict(first.status)), _found({"trainer": {"image": "other"}}))
    pods = [write.manifest for write in later.writes if write.manifest["kind"] == "Pod"]
    (container,) = pods[0]["spec"]["containers"]
    assert container["image"] == "registry.example.com/torch:2"
    assert {"name": "slipway-node-0", "mountPath": "/scratch", "readOnly": False} in container["volumeMounts"]
    assert {"name": "slipway-node-0", "hostPath": {"path": "/mnt/nvme"}} in pods[0]["spec"]["volumes"]
    (config,) = [write.manifest for write in later.writes if write.manifest["kind"] == "ConfigMap"]
    # An image of an earlier release knows no runtimeRef.
    assert "runtimeRef" not in config["data"]["job.json"]
    assert '"image": "registry.example.com/torch:2"' in config["data"]["job.json"]


def test_a_job_whose_runtime_is_missing_waits_and_says_so_and_its_deadline_counts() -> None:
    spec = _spec(runPolicy={"startupDeadlineSeconds": 60})
    waits = _look(_job(spec), None)
    assert not waits.writes
    assert waits.status is not None
    told = {c["type"]: c for c in waits.status["conditions"]}
    assert told["Ready"]["reason"] == "WaitingForRuntime"
    assert "there is no ClusterTrainingRuntime a100: create it" in told["Ready"]["message"]
    assert "queue" not in waits.status
    late = plan(_job(spec, dict(waits.status)), [], Platform("t"), NOW.replace(minute=2))
    assert late.status is not None
    assert any(c["reason"] == "StartupDeadlineExceeded" for c in late.status["conditions"])


def test_neither_strategy_nor_numbers_are_settled_before_the_runtime_is() -> None:
    """Without its runtime a job has no GPUs: what was chosen for that one would be kept."""
    spec = _spec(strategy={"name": "Auto", "gpuMemory": "80Gi", "model": {"parameters": 10**9}})
    waits = _look(_job(spec), None)
    assert waits.status is not None
    assert "strategy" not in waits.status


@pytest.mark.parametrize(
    ("under", "words"),
    [
        ({"trainer": {"imagee": "x"}}, "unknown field"),
        ({"trainer": {"env": [{"name": f"N{n}", "value": "x" * 1000} for n in range(40)]}}, "more than 32 KiB"),
        ({"scheduling": {"gang": "Kueue"}}, "Kueue admits by queues"),
        ({"nodeVolumes": [{"mountPath": "/dev/shm", "hostPath": {"path": "/x"}}]}, "mountPath is /"),
        ({"nodeVolumes": [{"mountPath": "/x", "hostPath": {"path": "/"}}]}, "the node's root"),
        ({"nodeVolumes": [{"mountPath": "/x", "hostPath": {"path": "/a/../b"}}]}, "'..'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_runtime_of_no_use_is_told_with_its_name(under: dict[str, Any], words: str) -> None:
    waits = _look(_job(_spec()), _found(under))
    assert not waits.writes
    assert waits.status is not None
    (told,) = [c["message"] for c in waits.status["conditions"] if c["type"] == "Ready"]
    assert told.startswith("ClusterTrainingRuntime a100: spec")
    assert words in told


def test_only_the_clusters_administrators_give_away_what_is_on_the_node() -> None:
    parsed, problems = runtime_problems(RuntimeKind.TRAINING_RUNTIME, {"nodeVolumes": SPEC["nodeVolumes"]})
    assert parsed is None
    assert problems == ["spec.nodeVolumes: unknown field: correct its name or remove it"]


def test_a_job_cannot_reach_a_node_volume_by_its_name_or_cover_it() -> None:
    volumes = [{"name": "mine", "emptyDir": {}}]
    spec = _spec(pod={"volumes": volumes, "volumeMounts": [{"name": "mine", "mountPath": "/scratch/"}]})
    settled = runtime.settle(TrainingJobSpec.model_validate(spec), _copied())
    assert "ClusterTrainingRuntime a100 mounts /scratch itself" in settled.problems[0]
    with pytest.raises(ValueError, match="volume names that start with slipway-"):
        TrainingJobSpec.model_validate(_spec(pod={"volumes": [{"name": "slipway-node-0", "emptyDir": {}}]}))


@pytest.mark.parametrize("settings", ["{", "[]", '"x"', '{"pod": 1}', '{"nodeVolumes": [1]}', "null"])
def test_a_copy_that_somebody_has_spoilt_is_told(settings: str) -> None:
    status = {"observedGeneration": 1, "runtime": {"kind": "TrainingRuntime", "name": "a100", "settings": settings}}
    job = _job(_spec(), status)
    told = _look(job, None)
    assert not told.writes
    assert told.status is not None
    assert any(c["reason"] == "InvalidSpec" for c in told.status["conditions"])
    assert claim_of(TrainingJobSpec.model_validate(_spec()), status["runtime"]) is None
    assert _startup_deadline(job) is None


def test_gang_admission_counts_what_the_runtime_asks_and_nothing_before() -> None:
    spec = TrainingJobSpec.model_validate(_spec())
    assert claim_of(spec, None) is None
    claim = claim_of(spec, _copied())
    assert claim is not None
    assert claim.demand.each["nvidia.com/gpu"] > 0
    assert claim.demand.selector == {"gpu": "a100", "zone": "a"}
    assert _startup_deadline(_job(_spec(), {"runtime": _copied()})) == 600


def test_a_job_that_is_suspended_from_the_start_takes_the_runtime_of_when_it_starts() -> None:
    spec = _spec(runPolicy={"suspend": True})
    waits = _look(_job(spec), _found(SPEC))
    assert waits.status is not None
    assert "runtime" not in waits.status
    assert any(c["type"] == "Suspended" for c in waits.status["conditions"])
    resumed = _look(_job(_spec(), dict(waits.status)), _found({"trainer": {"image": "newer"}}))
    assert resumed.status is not None
    assert "newer" in resumed.status["runtime"]["settings"]


def test_another_runtime_named_later_is_a_changed_spec() -> None:
    """Servers without CEL let it through."""
    first = _look(_job(_spec()), _found(SPEC))
    made = _look(_job(_spec(), dict(first.status or {})), None)
    assert made.status is not None
    edited = _job({**_spec(), "runtimeRef": {"name": "other"}}, dict(made.status))
    edited["metadata"]["generation"] = 2
    told = _look(edited, replace(Cluster()).runtime)
    assert told.status is not None
    assert any(c["reason"] == "SpecChanged" for c in told.status["conditions"]), told.status


def test_what_the_runtime_fills_in_is_told_field_by_field() -> None:
    spec = TrainingJobSpec.model_validate(_spec(trainer={"image": "mine"}))
    told = runtime.filled(spec, _copied())
    assert "trainer.image" not in told
    assert {"network.rdma", "trainer.env", "pod.nodeSelector.gpu", "nodeVolumes"} <= set(told)
