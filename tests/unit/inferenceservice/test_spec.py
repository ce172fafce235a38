"""What admission and the operator refuse of a service's spec, with the same words."""

from typing import Any

import pytest

from slipway.api.serving.inferenceservice import KIND, spec_problems
from slipway.reconcile.plan import Plan
from slipway.runtime.client.resource import CONFIGMAPS
from tests.unit.api.admission import Admission, unknown_fields
from tests.unit.inferenceservice.looks import look

ADMISSION = Admission(KIND)
MODEL = {"model": {"uri": "pvc://models/digits"}}
TO_ZERO = {"minReplicas": 0, "maxReplicas": 3, "scaleTarget": 4}
CANARY = {"strategy": "Canary", "canary": {"steps": [{"trafficPercent": 10}]}}
COPIES = {"trafficPercent": 10, "mirror": True}
PUBLIC = {"parentRefs": [{"name": "public"}], "hostnames": ["a.example"]}
BY_CPU = {"minReplicas": 2, "maxReplicas": 2, "scaleTarget": 70, "scaleMetric": "CPU"}
SENSE: list[dict[str, Any]] = [
    {"autoScaling": {"maxReplicas": 3, "scaleTarget": 4}},
    {"autoScaling": BY_CPU, "predictor": {**MODEL, "resources": {"requests": {"cpu": "500m"}}}},
    {"autoScaling": BY_CPU, "predictor": {**MODEL, "resources": {"limits": {"cpu": 2}}}},
    {"autoScaling": {"maxReplicas": 3, "scaleTarget": 256, "scaleMetric": "QueueDepth"}},
    {"autoScaling": {"minReplicas": 0, "maxReplicas": 3, "scaleTarget": 4}},
    {"autoScaling": {**TO_ZERO, "scaleMetric": "QueueDepth", "scaleToZeroPodRetentionSeconds": 60}},
    {
        "autoScaling": {**TO_ZERO, "scaleMetric": "QueueDepth", "scaleTarget": 300},
        "predictor": {**MODEL, "generation": {}},
    },
    {
        "predictor": {**MODEL, "generation": {"prefixCaching": False}},
        "rollout": {"strategy": "Canary", "canary": {"steps": [COPIES], "gate": {"maxLogprobDrift": 0.1}}},
    },
    {
        "autoScaling": {**TO_ZERO, "scaleMetric": "TokensInFlight", "scaleTarget": 4000},
        "predictor": {**MODEL, "generation": {}},
    },
    {"rollout": {"strategy": "Canary"}},
    {"rollout": {"gateway": PUBLIC}},
    {"rollout": {"strategy": "Replace", "gateway": {**PUBLIC, "grpc": {"hostnames": ["grpc.example"]}}}},
    {"rollout": CANARY},
    {"rollout": {"strategy": "Replace"}},
    {"rollout": {"strategy": "Canary", "canary": {"steps": [COPIES, {"trafficPercent": 10}]}}},
    {
        "rollout": {
            "strategy": "Canary",
            "gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["*.a.example"]},
        }
    },
    {"rollout": {"strategy": "Canary", "gateway": {**PUBLIC, "grpc": {"hostnames": ["grpc.example"]}}}},
    {"rollout": {"strategy": "Canary", "gateway": {**PUBLIC, "grpc": {"parentRefs": [{"name": "other"}]}}}},
    {"predictor": {**MODEL, "warmUp": {"mode": "None"}}},
    {"predictor": {**MODEL, "warmUp": {"uri": "pvc://samples/rows.npz"}}},
    {"predictor": {**MODEL, "warmUp": {"mode": "ShapesOnly", "shapes": [{"name": "x", "shape": [1, 3, 640, 640]}]}}},
    {"predictor": {**MODEL, "engine": {"cache": {"uri": "pvc://engines/a"}}}},
    {"predictor": {**MODEL, "engine": {"name": "torch", "fallback": ["tensorrt"], "maxAxisLength": 2048}}},
    {"predictor": {**MODEL, "engine": {"name": "torch", "fallback": ["tensorrt"], "cache": {"uri": "pvc://e/a"}}}},
]
# With the words of the operator.
TERM = {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "kubernetes.io/hostname"}


def _pod(**fields: Any) -> dict[str, Any]:
    return {"predictor": {**MODEL, "pod": fields}}


def _near(**term: Any) -> dict[str, Any]:
    return _pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{**TERM, **term}]}})


def _first(**container: Any) -> dict[str, Any]:
    return _pod(initContainers=[{"name": "a", **container}])


SENSE += [
    _near(),
    _pod(runtimeClassName="nvidia"),
    {"predictor": {**MODEL, "engine": {"name": "onnxruntime", "provider": "OpenVINOExecutionProvider"}}},
    {
        "predictor": {
            **MODEL,
            "engine": {"name": "torch", "fallback": ["onnxruntime"], "provider": "CPUExecutionProvider"},
        }
    },
    _first(command=["true"]),
    {"predictor": {**MODEL, "sharedMemory": {"sizeLimit": "1Gi"}}},
]
NONSENSE: list[tuple[dict[str, Any], str]] = [
    ({"predictor": {**MODEL, "warmUp": {"mode": "Some"}}}, "mode"),
    ({"predictor": {**MODEL, "warmUp": {"mode": "None", "uri": "pvc://a/b.npz"}}}, "nothing is run: remove uri"),
    (
        {"predictor": {**MODEL, "warmUp": {"mode": "None", "shapes": [{"name": "x", "shape": [1]}]}}},
        "nothing is run: remove uri",
    ),
    ({"predictor": {**MODEL, "warmUp": {"uri": "pvc://a/rows.pkl"}}}, "an .npz with an array for each input"),
    ({"predictor": {**MODEL, "warmUp": {"uri": "pvc://a/../rows.npz"}}}, "warmUp.uri"),
    ({"predictor": {**MODEL, "warmUp": {"uri": "ftp://a/rows.npz"}}}, "warmUp.uri"),
    ({"predictor": {**MODEL, "warmUp": {"shapes": [{"name": "x", "shape": [-1]}]}}}, "shape"),
    (
        {"predictor": {**MODEL, "warmUp": {"shapes": [{"name": "x", "shape": [1]}] * 2}}},
        "warmUp.shapes",
    ),
    ({"autoScaling": {"minReplicas": 5, "maxReplicas": 3, "scaleTarget": 4}}, "minReplicas must not be above"),
    ({"predictor": {**MODEL, "engine": {"provider": "CUDAExecutionProvider"}}}, "set engine.name to onnxruntime"),
    ({"predictor": {**MODEL, "engine": {"name": "onnxruntime", "provider": "cuda"}}}, "provider"),
    (_near(labelSelector={}), "an empty labelSelector means all pods"),
    (_near(labelSelector={"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}), "have no Gt and Lt"),
    (_near(labelSelector={"matchExpressions": [{"key": "a", "operator": "In"}]}), "In and NotIn need values"),
    (_near(topologyKey=""), "topologyKey"),
    (_pod(runtimeClassName="No Such"), "runtimeClassName"),
    (_first(name="server"), "choose another name"),
    (_first(name="slipway-x"), "choose another name"),
    (_first(volumeMounts=[{"name": "data", "mountPath": "/d"}]), "add the volume or correct the name"),
    (_first(volumeMounts=[{"name": "data", "mountPath": "/mnt/pvc/x"}]), "choose another one"),
    (_first(securityContext={"privileged": True}), ""),
    (_first(env=[{"name": "RANK", "value": "1"}]), "remove it"),
    (_pod(initContainers=[{"name": "a"}, {"name": "a"}]), "appears more than once"),
    (_first(envFrom=[{"prefix": "P_"}]), "set exactly one of configMapRef, secretRef"),
    ({"predictor": {**MODEL, "envFrom": [{"secretRef": {"name": "a"}, "configMapRef": {"name": "b"}}]}}, "set exactly"),
    ({"autoScaling": {"maxReplicas": 3}}, "scaleTarget"),
    ({"autoScaling": {"maxReplicas": 3, "scaleTarget": 300, "scaleMetric": "QueueDepth"}}, "no queue ever reaches it"),
    (
        {
            "predictor": {**MODEL, "generation": {}},
            "rollout": {"strategy": "Canary", "canary": {"steps": [COPIES], "gate": {"maxLogprobDrift": 0.1}}},
        },
        "prefixCaching to false",
    ),
    (
        {
            "predictor": {**MODEL, "generation": {"prefixCaching": False}},
            "rollout": {
                "strategy": "Canary",
                "canary": {"steps": [{"trafficPercent": 10}], "gate": {"maxLogprobDrift": 0.1}},
            },
        },
        "a step with mirror",
    ),
    ({"autoScaling": {"maxReplicas": 3, "scaleTarget": 4, "scaleMetric": "GPU"}}, "scaleMetric"),
    (
        {"autoScaling": {"maxReplicas": 3, "scaleTarget": 4, "scaleMetric": "TokensInFlight"}},
        "set predictor.generation",
    ),
    (
        {
            "autoScaling": {"maxReplicas": 3, "scaleTarget": 101, "scaleMetric": "KVCacheUsage"},
            "predictor": {**MODEL, "generation": {}},
        },
        "percent of the cache",
    ),
    ({"autoScaling": {**TO_ZERO, "minReplicas": -1}}, "minReplicas"),
    ({"autoScaling": {**TO_ZERO, "scaleMetric": "CPU"}}, "minReplicas 0 needs another scaleMetric than CPU"),
    ({"autoScaling": {**TO_ZERO, "scaleToZeroPodRetentionSeconds": 4}}, "scaleToZeroPodRetentionSeconds"),
    (
        {"autoScaling": {**TO_ZERO, "minReplicas": 1, "scaleToZeroPodRetentionSeconds": 60}},
        "scaleToZeroPodRetentionSeconds has no effect without minReplicas 0",
    ),
    (
        {"predictor": {**MODEL, "engine": {"name": "torch", "cache": {"uri": "pvc://e/a"}}}},
        "cache has no effect without the engine tensorrt or auto",
    ),
    (
        {"predictor": {**MODEL, "engine": {"name": "torch", "maxAxisLength": 900}}},
        "maxAxisLength is TensorRT's",
    ),
    ({"predictor": {**MODEL, "engine": {"cache": {"uri": "s3://e/a"}}}}, "cache.uri is pvc://claim/path"),
    ({"predictor": {**MODEL, "engine": {"cache": {"uri": "pvc://e/../a"}}}}, "cache.uri is pvc://claim/path"),
    ({"rollout": {"canary": {"steps": [{"trafficPercent": 10}]}}}, "canary has no effect without strategy Canary"),
    ({"rollout": {"strategy": "Canary", "canary": {"steps": []}}}, "steps"),
    (
        {"rollout": {"strategy": "Canary", "canary": {"steps": [COPIES, COPIES]}}},
        "trafficPercent appears more than once",
    ),
    ({"rollout": {"strategy": "Canary", "gateway": {"parentRefs": []}}}, "parentRefs"),
    (
        {"rollout": {"strategy": "Canary", "gateway": {"parentRefs": [{"name": "a"}], "hostnames": ["a..b"]}}},
        "hostnames",
    ),
    ({"rollout": {"strategy": "Canary", "gateway": {**PUBLIC, "grpc": {}}}}, "grpc needs parentRefs of its own"),
    (
        {"rollout": {"strategy": "Canary", "gateway": {**PUBLIC, "grpc": {"hostnames": ["a.example", "b.example"]}}}},
        "a listener takes an HTTPRoute or a GRPCRoute, not both",
    ),
    (
        {
            "rollout": {
                "strategy": "Canary",
                "gateway": {**PUBLIC, "hostnames": [], "grpc": {"hostnames": ["b.example"]}},
            }
        },
        "grpc needs parentRefs of its own",
    ),
    ({"rollout": {"strategy": "Canary", "canary": {"steps": [{"trafficPercent": 100}]}}}, "trafficPercent"),
    (
        {"rollout": {"strategy": "Canary", "canary": {"steps": [{"trafficPercent": 10}, {"trafficPercent": 10}]}}},
        "trafficPercent appears more than once",
    ),
    (
        {"rollout": {"strategy": "Canary", "canary": {"steps": CANARY["canary"]["steps"], "gate": {"x": 1}}}},
        "",
    ),
]


def service(**spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "slipway.dev/v1alpha1", "kind": "InferenceService", "metadata": {"name": "digits"}}
    return {**body, "spec": {"predictor": MODEL, **spec}}


def refused(spec: dict[str, Any]) -> str:
    parsed, problems = spec_problems("digits", spec)
    assert (parsed is None) == bool(problems)
    return "; ".join(problems)


@pytest.mark.parametrize("spec", SENSE)
def test_what_makes_sense_is_taken(spec):
    assert not ADMISSION.refusals(service(**spec))
    assert not refused(service(**spec)["spec"])


@pytest.mark.parametrize(("spec", "words"), NONSENSE)
def test_what_makes_no_sense_is_refused_by_both(spec, words):
    wrong = service(**spec)
    assert ADMISSION.refusals(wrong) or unknown_fields(wrong, ADMISSION.schema)
    assert refused(wrong["spec"])
    assert words in refused(wrong["spec"])


@pytest.mark.parametrize("resources", [None, {}, {"requests": {"memory": "1Gi"}}, {"limits": {"memory": "1Gi"}}])
def test_autoscaling_on_the_cpu_without_a_cpu_request_is_refused_at_admission(resources):
    predictor = {**MODEL, **({"resources": resources} if resources is not None else {})}
    wrong = service(autoScaling=BY_CPU, predictor=predictor)
    said = "set predictor.resources.requests.cpu"
    assert any(said in words for words in ADMISSION.refusals(wrong))
    assert said in refused(wrong["spec"])


@pytest.mark.parametrize(
    "uri", ["s3://bucket/engines", "gs://bucket/engines", "file:///engines", "https://host/engines"]
)
def test_a_cache_of_engines_that_pods_cannot_mount_is_refused_at_admission(uri):
    wrong = service(predictor={**MODEL, "engine": {"name": "tensorrt", "cache": {"uri": uri}}})
    assert any("pvc://claim/path" in words for words in ADMISSION.refusals(wrong))
    assert "pvc://claim/path" in refused(wrong["spec"])


def test_the_operator_alone_sees_a_cpu_request_of_nothing():
    resources = {"limits": {"cpu": 2}, "requests": {"cpu": "0m"}}
    assert "which is 0" in refused(service(autoScaling=BY_CPU, predictor={**MODEL, "resources": resources})["spec"])


def test_the_operator_alone_sees_steps_that_go_back():
    steps = [{"trafficPercent": 50}, {"trafficPercent": 10}]
    assert "above that of the step before" in refused(
        service(rollout={"strategy": "Canary", "canary": {"steps": steps}})["spec"]
    )


def test_a_field_without_effect_is_not_there():
    """How pods end follows from predictor.drain."""
    wrong = service(predictor={**MODEL, "pod": {"terminationGracePeriodSeconds": 5}})
    assert unknown_fields(wrong, ADMISSION.schema)
    assert "unknown field" in refused(wrong["spec"])


def configuration(decision: Plan) -> dict[str, Any]:
    return next(w.manifest for w in decision.writes if w.resource is CONFIGMAPS)


def test_neither_replicas_nor_rollout_nor_autoscaling_make_another_revision_or_another_text_of_one():
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
    first = look({"metadata": metadata, "spec": service()["spec"]})
    for spec in ({"replicas": 5}, {"rollout": CANARY}, {"autoScaling": {"maxReplicas": 3, "scaleTarget": 4}}):
        again = look({"metadata": metadata, "spec": service(**spec)["spec"]})
        assert configuration(again) == configuration(first)


def test_defaults_written_out_by_the_server_make_no_other_revision():
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
    bare = service()["spec"]
    full = {
        **bare,
        "predictor": {**MODEL, "engine": {"name": "auto", "instances": 1}, "batching": {"maxBatchSize": 32}},
    }
    assert configuration(look({"metadata": metadata, "spec": bare})) == configuration(
        look({"metadata": metadata, "spec": full})
    )


def test_a_field_that_a_newer_slipway_adds_makes_no_other_revision_of_what_runs():
    """The name is that which 0.1.0 gives: another one would replace the pods of every service at an update."""
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
    predictor = {**MODEL, "batching": {"maxBatchSize": 8}}
    made = configuration(look({"metadata": metadata, "spec": service(predictor=predictor)["spec"]}))
    assert made["metadata"]["name"] == "digits-9bc53f69"
