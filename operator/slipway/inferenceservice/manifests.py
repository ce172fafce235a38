"""A service's children as manifests: the Service, and a Deployment and a ConfigMap per revision. Pure."""

import hashlib
import json
from typing import Any

from slipway.api.autoscaling import AutoScaling
from slipway.api.common import API_VERSION, GROUP
from slipway.inferenceservice.service import GRPC_PORT, HTTP_PORT, KIND, REVISION, InferenceService, Platform
from slipway.job import labels
from slipway.job.source import Pinned
from slipway.runtime.resource import Resource

CONTAINER = "server"
# What an object was made from, where the server fills in defaults and a comparison would not end.
SPEC_HASH = f"{GROUP}/spec-hash"
CONFIG_DIR = "/etc/slipway"
CLAIMS_DIR = "/mnt/pvc"
# What the server takes beside readiness lead and timeout to close its sockets.
CLOSING_SECONDS = 5
PROBE_SECONDS = 5


def selector(service: InferenceService) -> dict[str, str]:
    """All pods of the service, of any revision: while one replaces another, both serve."""
    return {labels.JOB_UID: service.uid}


def pods_of(service: InferenceService, revision: str) -> dict[str, str]:
    """Those of one revision."""
    return {**selector(service), REVISION: revision}


def address(service: InferenceService) -> dict[str, Any]:
    """The Service that clients talk to."""
    ports = [
        {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"},
        {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(service, service.name),
        "spec": {"selector": selector(service), "ports": ports},
    }


def config_map(service: InferenceService, revision: str, model: Pinned) -> dict[str, Any]:
    """What the server of this revision is told: the spec, and the artifact that was pinned."""
    # Only what makes the revision: there must never be two texts of one.
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": service.name, "namespace": service.namespace, "uid": service.uid},
        "spec": {"predictor": service.spec.predictor.wire()},
        "status": {"model": model.wire()},
    }
    data = {"service.json": json.dumps(document, indent=1, sort_keys=True)}
    metadata = _metadata(service, service.child(revision))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def budget(service: InferenceService, budgets: Resource) -> dict[str, Any]:
    """Drains of nodes take one pod at a time, of all revisions together."""
    return {
        "apiVersion": budgets.api_version,
        "kind": budgets.kind,
        "metadata": _metadata(service, service.name),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(service)}},
    }


def autoscaler(service: InferenceService, scaling: AutoScaling, autoscalers: Resource) -> dict[str, Any]:
    """The cluster's own autoscaler on the service's scale subresource, for the CPU."""
    target = {"type": "Utilization", "averageUtilization": scaling.scale_target}
    spec = {
        "scaleTargetRef": {"apiVersion": API_VERSION, "kind": KIND, "name": service.name},
        "minReplicas": scaling.min_replicas,
        "maxReplicas": scaling.max_replicas,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": scaling.scale_down_stabilization_seconds}},
    }
    metadata = _metadata(service, service.name)
    metadata["annotations"] = {SPEC_HASH: hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]}
    return {"apiVersion": autoscalers.api_version, "kind": autoscalers.kind, "metadata": metadata, "spec": spec}


def deployment(
    service: InferenceService, revision: str, model: Pinned, replicas: int, platform: Platform
) -> dict[str, Any]:
    """The pods of one revision."""
    predictor = service.spec.predictor
    marks = {**service.labels, REVISION: revision}
    metadata = _metadata(service, service.child(revision))
    metadata["labels"] = marks
    template: dict[str, Any] = {
        "metadata": {"labels": {**predictor.pod.labels, **marks}},
        "spec": _pod(service, revision, model, platform),
    }
    if predictor.pod.annotations:
        template["metadata"]["annotations"] = dict(predictor.pod.annotations)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": predictor.startup_seconds + 60,
            "selector": {"matchLabels": pods_of(service, revision)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }


def _metadata(service: InferenceService, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": service.namespace,
        "labels": dict(service.labels),
        "ownerReferences": [service.owner],
    }


def _pod(service: InferenceService, revision: str, model: Pinned, platform: Platform) -> dict[str, Any]:
    predictor = service.spec.predictor
    settings, drain = predictor.pod, predictor.drain
    mounts = [{"name": "slipway-config", "mountPath": CONFIG_DIR, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "slipway-config", "configMap": {"name": service.child(revision)}}]
    if model.uri.startswith("pvc://"):
        claim = model.uri.removeprefix("pvc://").split("/", 1)[0]
        mounts.append({"name": "slipway-model", "mountPath": f"{CLAIMS_DIR}/{claim}", "readOnly": True})
        volumes.append({"name": "slipway-model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}})
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": drain.readiness_lead_seconds + drain.timeout_seconds + CLOSING_SECONDS,
        # A node that fails or is drained should not take all replicas; but better together than not at all.
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": pods_of(service, revision)},
            }
        ],
        "securityContext": _security(service),
        "containers": [_container(service, platform, mounts + [mount.wire() for mount in settings.volume_mounts])],
        "volumes": volumes + [volume.wire() for volume in settings.volumes],
    }
    optional = settings.wire()
    for field in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "imagePullSecrets",
        "serviceAccountName",
        "priorityClassName",
        "schedulerName",
    ):
        if optional.get(field):
            spec[field] = optional[field]
    return spec


def _container(service: InferenceService, platform: Platform, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    predictor = service.spec.predictor
    return {
        "name": CONTAINER,
        "image": predictor.image or platform.server_image,
        "command": ["python", "-m", "workloads", "serve", "--config", f"{CONFIG_DIR}/service.json"],
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}, *(env.wire() for env in predictor.env)],
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
        ],
        "resources": predictor.resources.wire(),
        "volumeMounts": mounts,
        "startupProbe": {
            **_probe("/v2/health/live"),
            "periodSeconds": PROBE_SECONDS,
            "failureThreshold": -(-predictor.startup_seconds // PROBE_SECONDS),
        },
        "readinessProbe": {
            **_probe("/v2/health/ready"),
            "periodSeconds": 1,
            "failureThreshold": 1,
            "timeoutSeconds": 5,
        },
        "livenessProbe": {
            **_probe("/v2/health/live"),
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 10,
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        # Why a model could not be loaded is in the server's last words.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}}


def _security(service: InferenceService) -> dict[str, Any]:
    settings = service.spec.predictor.pod
    security: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if settings.run_as_user is not None:
        security["runAsUser"] = settings.run_as_user
    if settings.fs_group is not None:
        security["fsGroup"] = settings.fs_group
    return security
