"""What the spec says of the pods is in them: every field, and what is derived from several."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.api.serving.inferenceservice import Predictor, spec_problems
from slipway.api.serving.pod import ServicePodPlace
from slipway.inferenceservice.service import Platform
from slipway.inferenceservice.telemetry.traffic_history import TrafficHistory, metrics_urls
from slipway.runtime.client.resource import SERVICES
from tests.unit.inferenceservice.looks import AUTOSCALERS, BUDGETS, LANGUAGE, PLATFORM, deployed, look
from workloads.serve.settings import KEYS_DIR, TLS_DIR

DIGEST = f"sha256:{'a' * 64}"
POD = {
    "labels": {"team": "vision"},
    "annotations": {"example.com/cost": "42"},
    "nodeSelector": {"gpu": "l4"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {
        "nodeAffinity": {},
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"labelSelector": {"matchLabels": {"app": "noisy"}}, "topologyKey": "kubernetes.io/hostname"}
            ]
        },
    },
    "volumes": [{"name": "scratch", "emptyDir": {}}],
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccountName": "server",
    "priorityClassName": "urgent",
    "schedulerName": "own",
    "runtimeClassName": "gvisor",
    "initContainers": [
        {
            "name": "fetch",
            "command": ["sh", "-c", "cp -r /models /scratch"],
            "env": [{"name": "LEVEL", "value": "debug"}],
            "envFrom": [{"secretRef": {"name": "bucket"}}],
            "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
        },
        {"name": "check", "image": "example.com/check:1", "args": ["--all"], "workingDir": "/tmp"},
    ],
    "runAsUser": 1234,
    "runAsGroup": 2345,
    "runAsNonRoot": False,
    "imagePullPolicy": "Always",
    "capabilities": ["IPC_LOCK"],
    "fsGroup": 4321,
    "readOnlyRootFilesystem": False,
}
PREDICTOR = {
    "model": {"uri": "pvc://models/digits", "digest": DIGEST},
    "image": "example.com/server:2",
    "engine": {"name": "torch"},
    "envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings", "optional": True}}],
    "batching": {"maxBatchSize": 8},
    "protocol": {"maxBodyMiB": 8},
    "cors": {"allowOrigins": ["https://app.example.com"]},
    "auth": {"secretRef": {"name": "keys"}},
    "accessLog": {"samplePercent": 10},
    "tls": {"secretRef": {"name": "digits-tls"}},
    "transform": {"preprocess": "flowers:to_rows", "memory": "256Mi"},
    "warmUp": {"mode": "Full", "uri": "pvc://samples/rows.npz", "shapes": [{"name": "x", "shape": [1, 3]}]},
    "resources": {"requests": {"cpu": "2"}, "limits": {"nvidia.com/gpu": "1"}},
    "env": [{"name": "LEVEL", "value": "debug"}],
    "sharedMemory": {"sizeLimit": "2Gi"},
    "startupSeconds": 62,
    "drain": {"readinessLeadSeconds": 3, "timeoutSeconds": 50},
    "pod": POD,
}


def service(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "digits", "namespace": "team", "uid": "u", "generation": 1}
    return {"metadata": metadata, "spec": {"predictor": PREDICTOR, **spec}, "status": status or {}}


def made(kind: str, **predictor: Any) -> dict[str, Any]:
    decision = look(service(predictor={**PREDICTOR, **predictor}))
    return next(write.manifest for write in decision.writes if write.manifest["kind"] == kind)


def pod(**predictor: Any) -> dict[str, Any]:
    spec: dict[str, Any] = made("Deployment", **predictor)["spec"]["template"]["spec"]
    return spec


def test_the_specs_below_name_every_field_there_is() -> None:
    every = {field.alias or name for name, field in Predictor.model_fields.items()}
    assert {*PREDICTOR, *LANGUAGE} == every - {None}
    assert set(POD) == {field.alias or name for name, field in ServicePodPlace.model_fields.items()}


def test_where_pods_run_and_as_whom() -> None:
    spec = pod()
    for field in (
        "nodeSelector",
        "imagePullSecrets",
        "serviceAccountName",
        "priorityClassName",
        "schedulerName",
        "runtimeClassName",
    ):
        assert spec[field] == POD[field]
    assert spec["tolerations"][0]["key"] == "gpu"
    away = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert away[0]["labelSelector"]["matchLabels"] == {"app": "noisy"}
    own = {"runAsUser": 1234, "runAsGroup": 2345, "fsGroup": 4321, "runAsNonRoot": False}
    assert spec["securityContext"].items() >= own.items()
    assert spec["containers"][0]["imagePullPolicy"] == "Always"
    (spread,) = spec["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")


def test_init_containers_run_before_the_server_and_are_as_restricted() -> None:
    spec = pod()
    fetch, check = spec["initContainers"]
    assert (fetch["image"], check["image"]) == ("example.com/server:2", "example.com/check:1")
    assert fetch["command"][0] == "sh"
    assert (check["args"], check["workingDir"]) == (["--all"], "/tmp")
    for container in (fetch, check):
        restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        assert container["securityContext"] == restricted, "the spec lifts the read-only root"
        assert "volumeMounts" in container or container is check
    assert [one["name"] for one in spec["containers"]] == ["server"]


def test_whole_configmaps_and_secrets_become_variables_of_server_and_init_containers() -> None:
    spec = pod()
    (origin,) = spec["containers"][0]["envFrom"]
    assert origin == {"prefix": "P_", "configMapRef": {"name": "settings", "optional": True}}
    fetch, check = spec["initContainers"]
    assert fetch["envFrom"] == [{"secretRef": {"name": "bucket", "optional": False}}]
    assert "envFrom" not in check


def test_shared_memory_is_a_volume_of_its_own() -> None:
    spec = pod()
    assert {"name": "slipway-shm", "mountPath": "/dev/shm"} in spec["containers"][0]["volumeMounts"]
    assert {"name": "slipway-shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}} in spec["volumes"]


def test_keys_are_a_folder_that_follows_its_secret() -> None:
    spec = pod()
    assert {"name": "slipway-keys", "secret": {"secretName": "keys", "optional": True}} in spec["volumes"]
    mount = {"name": "slipway-keys", "mountPath": str(KEYS_DIR), "readOnly": True}
    assert mount in spec["containers"][0]["volumeMounts"], "with subPath a change would never come"
    assert not any("keys" in mount["name"] for mount in spec["initContainers"][0].get("volumeMounts", []))


def test_with_tls_probes_metrics_and_clients_speak_it() -> None:
    template = made("Deployment")["spec"]["template"]
    server = template["spec"]["containers"][0]
    assert {"name": "slipway-tls", "mountPath": str(TLS_DIR), "readOnly": True} in server["volumeMounts"]
    probes = [server[name]["httpGet"]["scheme"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert probes == ["HTTPS"] * 3
    assert template["metadata"]["labels"]["slipway.dev/scheme"] == "https"
    ports = {port["name"]: port["port"] for port in made("Service")["spec"]["ports"]}
    assert ports == {"http": 80, "grpc": 9000, "https": 443}
    assert look(service()).status["url"] == "https://digits.team.svc.cluster.local"
    plain = made("Deployment", tls=None)["spec"]["template"]
    assert "scheme" not in plain["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    assert "slipway.dev/scheme" not in plain["metadata"]["labels"]


def test_figures_are_asked_as_each_pod_speaks() -> None:
    """While TLS is switched on, pods of both kinds are there."""
    pods = [
        {
            "metadata": {"name": name, "uid": name, "labels": labels},
            "status": {"podIP": "10.0.0.7", "conditions": [{"type": "Ready", "status": "True"}]},
        }
        for name, labels in (("new", {"slipway.dev/scheme": "https"}), ("old", {}))
    ]
    urls = metrics_urls(TrafficHistory(), pods, datetime.now(UTC))
    assert urls == {"new": "https://10.0.0.7:8080/metrics", "old": "http://10.0.0.7:8080/metrics"}


def test_a_service_made_before_tls_gets_its_port() -> None:
    made_before = made("Service", tls=None)
    there = {SERVICES: {"digits": {**made_before, "metadata": {**made_before["metadata"], "uid": "s"}}}}
    opened = [patch.body for patch in look(service(), beside=there).patches if patch.resource is SERVICES]
    assert [port["port"] for port in opened[0]["spec"]["ports"]] == [80, 9000, 443]
    opened = look(service(predictor={**PREDICTOR, "tls": None}), beside=there).patches
    assert not opened


def test_a_gateway_before_tls_is_refused_in_words() -> None:
    rollout = {"strategy": "Canary", "canary": {"steps": [{"trafficPercent": 50}]}}
    rollout["gateway"] = {"parentRefs": [{"name": "public"}]}
    _, problems = spec_problems("digits", {"predictor": PREDICTOR, "rollout": rollout})
    assert "a gateway speaks plain HTTP to the pods" in str(problems)


def test_labels_annotations_and_volumes_beside_our_own() -> None:
    template = made("Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["metadata"]["labels"]["slipway.dev/job-name"] == "digits"
    assert template["metadata"]["annotations"] == POD["annotations"]
    assert "emptyDir" in next(volume for volume in template["spec"]["volumes"] if volume["name"] == "scratch")
    (container,) = template["spec"]["containers"]
    assert ("scratch", "/scratch") in {(mount["name"], mount["mountPath"]) for mount in container["volumeMounts"]}


def test_the_container() -> None:
    (container,) = pod()["containers"]
    assert container["image"] == "example.com/server:2"
    assert container["resources"] == PREDICTOR["resources"]
    assert {"name": "LEVEL", "value": "debug"} in container["env"]
    (plain,) = pod(image=None)["containers"]
    assert plain["image"] == PLATFORM.server_image


def test_time_to_start_and_time_to_leave() -> None:
    deployment = made("Deployment")["spec"]
    spec = deployment["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 3 + 50 + 5
    probe = spec["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 62
    assert deployment["progressDeadlineSeconds"] == 62 + 60, "the server's own reason comes before the Deployment's"


def test_the_claim_with_rows_for_the_warm_up_is_mounted_read_only() -> None:
    spec = pod()
    (mount,) = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["mountPath"] == "/mnt/pvc/samples"]
    assert mount["readOnly"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == mount["name"]]
    assert volume["persistentVolumeClaim"] == {"claimName": "samples", "readOnly": True}


def test_the_server_is_told_the_predictor_and_the_digest_it_must_find() -> None:
    document = json.loads(made("ConfigMap")["data"]["service.json"])
    told = Predictor.model_validate(document["spec"]["predictor"])
    assert told == Predictor.model_validate(PREDICTOR)
    assert document["status"]["model"] == {"uri": "pvc://models/digits", "digest": DIGEST}


def test_the_model_is_mounted_where_the_server_looks_and_cannot_be_changed() -> None:
    spec = pod()
    claim = {"name": "slipway-model", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}
    assert claim in spec["volumes"]
    mount = {"name": "slipway-model", "mountPath": "/mnt/pvc/models", "readOnly": True}
    assert mount in spec["containers"][0]["volumeMounts"]


def test_the_clusters_autoscaler_follows_the_spec_and_goes_with_it() -> None:
    scaling = {"maxReplicas": 5, "scaleMetric": "CPU", "scaleTarget": 70, "scaleDownStabilizationSeconds": 33}
    first = look(service(autoScaling=scaling))
    scaler = next(write for write in first.writes if write.resource is AUTOSCALERS[0])
    spec = scaler.manifest["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (1, 5)
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 33
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    there = {"digits": {**scaler.manifest, "metadata": {**scaler.manifest["metadata"], "uid": "h"}}}
    serving = [deployed(first, ready=1)]
    again = look(service(first.status, autoScaling=scaling), serving, scalers=there)
    assert not again.writes
    changed = look(service(first.status, autoScaling={**scaling, "maxReplicas": 6}), serving, scalers=there)
    assert [(w.resource, w.replace) for w in changed.writes] == [(AUTOSCALERS[0], True)]
    gone = look(service(first.status), serving, scalers=there)
    assert [(d.resource, d.uid) for d in gone.deletes] == [(AUTOSCALERS[0], "h")]


def test_a_cluster_without_autoscalers_is_said_to_be_one() -> None:
    scaling = {"maxReplicas": 5, "scaleMetric": "CPU", "scaleTarget": 70}
    said = look(service(autoScaling=scaling)).status
    assert said is not None
    assert "HorizontalPodAutoscaler holds" in said["autoScaling"]["message"]
    said = look(
        service(autoScaling=scaling), platform=Platform("registry.example.com/slipway/server:1", BUDGETS[0], None)
    ).status
    assert said is not None
    assert "serves no HorizontalPodAutoscaler" in said["autoScaling"]["message"]


def test_drains_take_one_pod_at_a_time() -> None:
    budget = made("PodDisruptionBudget")
    assert budget["apiVersion"] == BUDGETS[0].api_version
    assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": {"slipway.dev/job-uid": "u"}}}


@pytest.mark.parametrize("field", ["image", "engine", "batching", "protocol", "resources", "env", "drain", "pod"])
def test_whatever_pods_are_made_from_makes_another_revision(field: str) -> None:
    name = made("Deployment")["metadata"]["name"]
    spec = {key: value for key, value in PREDICTOR.items() if key != field}
    other = look(service(predictor=spec))
    assert name not in {write.manifest["metadata"]["name"] for write in other.writes}
