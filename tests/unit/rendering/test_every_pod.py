"""Every pod that any kind makes: each launcher, stage, measurement, server, engine's build and activator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.api.quantization.status import Stage
from slipway.api.search.searchjob import SearchJobSpec
from slipway.api.search.status import TrialState
from slipway.api.serving.inferenceservice import InferenceServiceSpec
from slipway.api.training.launchers import LauncherName
from slipway.inferenceservice.activator.activator import activator
from slipway.inferenceservice.service import identify as identify_service
from slipway.quantizationjob import pods as stages
from slipway.quantizationjob.job import identify as identify_quantization
from slipway.reconcile.podspec import LARGEST_VOLUME
from slipway.reconcile.source import Pinned
from slipway.searchjob import children as trials
from slipway.searchjob.job import Platform as SearchPlatform
from slipway.searchjob.job import identify as identify_search
from slipway.searchjob.record import Record
from tests.cluster.paths import REPOSITORY
from tests.unit.inferenceservice.looks import PLATFORM as SERVING
from tests.unit.inferenceservice.looks import look
from tests.unit.quantizationjob.test_plan import DIGEST, PLATFORM, SPEC
from tests.unit.rendering.hardening import weaknesses
from tests.unit.searchjob.refusals import RIGHT
from tests.unit.trainingjob.rendered import job_of, pod_of, resources

Object = dict[str, Any]
METADATA = {"name": "one", "namespace": "team", "uid": "uid-1", "generation": 1}
# What each kind takes beside its own container.
POD: Object = {
    "initContainers": [{"name": "fetch", "image": "example.com/fetch:1"}],
    "sidecars": [{"name": "ship", "image": "example.com/ship:1"}],
}
FIRST = {"initContainers": POD["initContainers"]}
CACHE = {"name": "tensorrt", "cache": {"uri": "pvc://engines/cache"}}


def training(launcher: str, index: int = 0) -> Object:
    offload = {"device": "nvme", "nvmePath": "/nvme"}
    deepspeed: Object = {"deepspeed": {"zeroStage": 3, "offloadParam": offload}} if launcher == "deepspeed" else {}
    gpu = resources(**{"nvidia.com/gpu": 1})
    return pod_of(job_of(launcher=launcher, numNodes=2, trainer=gpu, pod=POD, **deepspeed), index)


def stage(of: Stage) -> Object:
    spec = QuantizationJobSpec.model_validate({**SPEC, "pod": POD})
    job = identify_quantization({"metadata": METADATA}, spec, Pinned("pvc://models/digits", DIGEST))
    return stages.pod(job, of, 1, 0, 0, PLATFORM)


def measurement() -> Object:
    whole = {**RIGHT, "template": {**RIGHT["template"], "pod": POD}}
    job = identify_search({"metadata": METADATA, "spec": whole}, SearchJobSpec.model_validate(whole))
    return trials.bench_pod(job, Record(0, TrialState.PENDING, {"recipe.model.width": 4}), SearchPlatform("quantizer"))


def trial() -> Object:
    """The TrainingJob of a trial, as its own kind renders it."""
    whole = {**RIGHT, "template": {**RIGHT["template"], "pod": POD}}
    job = identify_search({"metadata": METADATA, "spec": whole}, SearchJobSpec.model_validate(whole))
    record = Record(0, TrialState.TRAINING, {"recipe.model.width": 4})
    return pod_of(job_of(**trials.trial(job, record)["spec"]))


def service(kind: str, **predictor: Any) -> Object:
    spec = {"predictor": {"model": {"uri": "pvc://models/digits"}, "sharedMemory": {}, "pod": FIRST, **predictor}}
    decision = look({"metadata": METADATA, "spec": spec, "status": {}})
    made = next(write.manifest for write in decision.writes if write.manifest["kind"] == kind)
    template: Object = made["spec"]["template"]
    return template


def standing_in() -> Object:
    spec = InferenceServiceSpec.model_validate({"predictor": {"model": {"uri": "pvc://models/digits"}}})
    template: Object = activator(identify_service({"metadata": METADATA}, spec), SERVING)["spec"]["template"]
    return template


MADE: dict[str, Callable[[], Object]] = {
    **{
        f"TrainingJob by {name}, node {index}": (lambda n=name, i=index: training(n, i))  # type: ignore[misc]
        for name in LauncherName
        for index in (0, 1)
    },
    **{f"QuantizationJob's {one}": (lambda one=one: stage(one)) for one in Stage},  # type: ignore[misc]
    "SearchJob's measurement": measurement,
    "SearchJob's trial": trial,
    "InferenceService's server": lambda: service("Deployment"),
    "InferenceService with a transform": lambda: service("Deployment", transform={"preprocess": "rows:to_rows"}),
    "InferenceService's engine build": lambda: service("Job", engine=CACHE),
    "InferenceService's activator": standing_in,
}


@pytest.mark.parametrize("name", MADE)
def test_a_pod_of_any_kind_is_restricted_with_a_read_only_root_and_limited_volumes(name: str) -> None:
    assert weaknesses(MADE[name]()) == []


def test_pods_are_made_in_one_place_and_by_the_kinds_above() -> None:
    """A new maker of pods has to come here."""
    root = REPOSITORY / "operator" / "slipway"
    texts = {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*.py")}
    assert [path for path, text in texts.items() if 'automountServiceAccountToken": False' in text] == [
        "reconcile/podspec.py"
    ]
    assert {path for path, text in texts.items() if " pod_spec(" in text and path != "reconcile/podspec.py"} == {
        "trainingjob/pods.py",
        "quantizationjob/pods.py",
        "searchjob/children.py",
        "inferenceservice/children/manifests.py",
        "inferenceservice/activator/activator.py",
    }


def test_a_volume_holds_what_the_containers_own_limits_allow() -> None:
    limits = {"memory": "4Gi", "ephemeral-storage": "20Gi", "nvidia.com/gpu": 1}
    spec = pod_of(job_of(trainer=resources(**limits), pod=POD))["spec"]
    volumes = {one["name"]: one["emptyDir"] for one in spec["volumes"] if "emptyDir" in one}
    assert volumes["slipway-shm"] == {"medium": "Memory", "sizeLimit": "4Gi"}
    assert volumes["slipway-tmp"] == {"sizeLimit": "20Gi"}
    assert volumes["slipway-tmp-1"] == {"sizeLimit": LARGEST_VOLUME}, "the sidecar has no limit of its own"
