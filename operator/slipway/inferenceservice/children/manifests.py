"""A service's children as manifests: the Service, and a Deployment and a ConfigMap per revision. Pure."""

import hashlib
import json
from typing import Any

from slipway.api.common.types import API_VERSION, GROUP
from slipway.api.common.uris import claim_of
from slipway.api.serving.autoscaling import AutoScaling
from slipway.api.serving.pod import InitContainer
from slipway.inferenceservice.children.ports import ports, secrets
from slipway.inferenceservice.service import (
    ENGINE,
    GRPC_PORT,
    HTTP_PORT,
    KIND,
    REVISION,
    SCHEME,
    SERVER,
    InferenceService,
    Platform,
)
from slipway.reconcile import labels
from slipway.reconcile.podspec import (
    CLAIMS_DIR,
    CONFIG_DIR,
    SHARED_MEMORY_DIR,
    caches,
    for_pod,
    memory_volume,
    pod_spec,
    restrict,
)
from slipway.reconcile.source import Pinned
from slipway.runtime.client.resource import Resource

# What an object was made from, where the server fills in defaults and a comparison would not end.
SPEC_HASH = f"{GROUP}/spec-hash"
# On pods that were started when their engine was in the cache; to set it on others makes them start again.
ENGINE_THERE = {ENGINE: "built"}
# What the server takes beside readiness lead and timeout to close its sockets.
CLOSING_SECONDS = 5
# The wait after a cold start is for nobody: a second costs the server a few microseconds.
PROBE_SECONDS = 1


def selector(service: InferenceService) -> dict[str, str]:
    """Label selector of the service's pods, of any revision: while one replaces another, both serve."""
    return {labels.JOB_UID: service.uid}


def pods_of(service: InferenceService, revision: str) -> dict[str, str]:
    """Label selector of one revision's pods."""
    return {**selector(service), REVISION: revision}


def address(service: InferenceService) -> dict[str, Any]:
    """The Service that clients talk to."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(service, service.name),
        "spec": {"selector": selector(service), "ports": ports(service)},
    }


def revision_address(service: InferenceService, revision: str) -> dict[str, Any]:
    """A Service of one revision alone, for a gateway that splits the traffic."""
    body = address(service)
    body["metadata"]["name"] = service.child(revision)
    body["metadata"]["labels"][REVISION] = revision
    body["spec"]["selector"] = pods_of(service, revision)
    return body


def config_map(service: InferenceService, revision: str, model: Pinned) -> dict[str, Any]:
    """ConfigMap for the server of this revision: the spec, and the artifact that was pinned."""
    # Only what makes the revision: there must never be two texts of one.
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": service.name, "namespace": service.namespace, "uid": service.uid},
        "spec": {"predictor": service.spec.predictor.wire()},
        "status": {"model": {key: value for key, value in model.wire().items() if key != "language"}},
    }
    data = {"service.json": json.dumps(document, indent=1, sort_keys=True)}
    about = metadata(service, service.child(revision))
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}


def budget(service: InferenceService, budgets: Resource) -> dict[str, Any]:
    """PodDisruptionBudget of the service: drains of nodes take one pod at a time, of all revisions together."""
    return {
        "apiVersion": budgets.api_version,
        "kind": budgets.kind,
        "metadata": metadata(service, service.name),
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
    about = metadata(service, service.name)
    about["annotations"] = {SPEC_HASH: hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]}
    return {"apiVersion": autoscalers.api_version, "kind": autoscalers.kind, "metadata": about, "spec": spec}


def deployment(
    service: InferenceService, revision: str, model: Pinned, replicas: int, platform: Platform, *, engine: bool = False
) -> dict[str, Any]:
    """Deployment of one revision. `engine`: what its Job has built is there."""
    predictor = service.spec.predictor
    marks = {**service.labels, REVISION: revision}
    about = metadata(service, service.child(revision))
    about["labels"] = marks
    sealed = {SCHEME: "https"} if predictor.tls is not None else {}
    template: dict[str, Any] = {
        "metadata": {"labels": {**predictor.pod.labels, **marks, **sealed}},
        "spec": _serving(service, revision, model, platform),
    }
    annotations = {**predictor.pod.annotations, **(ENGINE_THERE if engine else {})}
    if annotations:
        template["metadata"]["annotations"] = annotations
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": predictor.startup_seconds + 60,
            "selector": {"matchLabels": pods_of(service, revision)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }


def metadata(service: InferenceService, name: str) -> dict[str, Any]:
    """Metadata of a child: name, namespace, labels and owner."""
    return {
        "name": name,
        "namespace": service.namespace,
        "labels": dict(service.labels),
        "ownerReferences": [service.owner],
    }


def _serving(service: InferenceService, revision: str, model: Pinned, platform: Platform) -> dict[str, Any]:
    drain = service.spec.predictor.drain
    first = [_before(one, service, platform) for one in service.spec.predictor.pod.init_containers]
    own: dict[str, Any] = {"initContainers": first} if first else {}
    own["terminationGracePeriodSeconds"] = drain.readiness_lead_seconds + drain.timeout_seconds + CLOSING_SECONDS
    own["topologySpreadConstraints"] = apart(pods_of(service, revision))
    return pod(service, revision, model, _server(service, platform), **own)


def apart(selects: dict[str, str]) -> list[dict[str, Any]]:
    """Spread over nodes: one that fails or is drained should not take all pods; but better together than not at all."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selects},
        }
    ]


def _before(one: InitContainer, service: InferenceService, platform: Platform) -> dict[str, Any]:
    """An init container, as restricted as the server."""
    image = one.image or service.spec.predictor.image or platform.server_image
    restricted = restrict(read_only=service.spec.predictor.pod.read_only_root_filesystem)
    made = {**one.wire(), "image": image, "resources": one.resources.wire(), "securityContext": restricted}
    made["terminationMessagePolicy"] = "FallbackToLogsOnError"
    return {name: value for name, value in made.items() if value not in ([], None)}


def pod(
    service: InferenceService,
    revision: str,
    model: Pinned,
    container: dict[str, Any],
    *,
    builds: bool = False,
    **own: Any,
) -> dict[str, Any]:
    """Pod spec of a revision: place, user and files. `builds`: the engine cache is written, too."""
    settings = service.spec.predictor.pod
    mounts = [{"name": "slipway-config", "mountPath": CONFIG_DIR, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "slipway-config", "configMap": {"name": service.child(revision)}}]
    for claim, (name, read_only) in _claims(service, model, builds).items():
        mounts.append({"name": name, "mountPath": f"{CLAIMS_DIR}/{claim}", "readOnly": read_only})
        volumes.append({"name": name, "persistentVolumeClaim": {"claimName": claim, "readOnly": read_only}})
    if (memory := service.spec.predictor.shared_memory) is not None:
        mounts.append({"name": "slipway-shm", "mountPath": SHARED_MEMORY_DIR})
        resources = service.spec.predictor.resources.wire()
        volumes.append(memory_volume("slipway-shm", resources, memory.size_limit))
    if not builds:
        for name, (secret, place) in secrets(service).items():
            mounts.append({"name": name, "mountPath": place, "readOnly": True})
            # Without the Secret the server says so in its last words; the kubelet would only wait.
            volumes.append({"name": name, "secret": {"secretName": secret, "optional": True}})
    mounts += [mount.wire() for mount in settings.volume_mounts]
    volumes += [volume.wire() for volume in settings.volumes]
    return pod_spec(settings, {**container, "volumeMounts": mounts}, volumes, **own)


def _claims(service: InferenceService, model: Pinned, builds: bool) -> dict[str, tuple[str, bool]]:
    """Volumes by claim, and whether they are read only. An engine is executable code: only its Job writes it."""
    claims: dict[str, tuple[str, bool]] = {}
    predictor = service.spec.predictor
    cache, warm_up = predictor.engine.cache, predictor.warm_up
    wanted = (
        (cache.uri if cache is not None else None, "slipway-engines", not builds),
        (model.uri, "slipway-model", True),
        (warm_up.uri if warm_up is not None else None, "slipway-warm-up", True),
        *((one.uri, f"slipway-adapter-{number}", True) for number, one in enumerate(predictor.adapters or ())),
    )
    for uri, name, read_only in wanted:
        if (claim := claim_of(uri)) is not None:
            claims.setdefault(claim, (name, read_only))
    return claims


def container(service: InferenceService, platform: Platform) -> dict[str, Any]:
    """The server's image and command, for whatever it shall do."""
    predictor = service.spec.predictor
    users = [env.wire() for env in predictor.env]
    ours = {"PYTHONUNBUFFERED": "1", **caches(predictor.pod, predictor.image)}
    named = {env["name"] for env in users} - {"PYTHONUNBUFFERED"}
    whole = {"envFrom": [origin.wire() for origin in predictor.env_from]} if predictor.env_from else {}
    return {
        "name": SERVER,
        "image": predictor.image or for_pod(platform.server_image, platform.gpu_image, predictor.resources.asked),
        **predictor.pod.pulled(),
        "command": ["python", "-m", "workloads", "serve", "--config", f"{CONFIG_DIR}/service.json"],
        "env": [{"name": name, "value": value} for name, value in ours.items() if name not in named] + users,
        **whole,
        "resources": predictor.resources.wire(),
        "securityContext": predictor.pod.contained(),
        # Why a model could not be loaded is in the server's last words.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def _server(service: InferenceService, platform: Platform) -> dict[str, Any]:
    return {
        **container(service, platform),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "grpc", "containerPort": GRPC_PORT, "protocol": "TCP"},
        ],
        "startupProbe": {
            **_probe(service, "/v2/health/live"),
            "periodSeconds": PROBE_SECONDS,
            "failureThreshold": -(-service.spec.predictor.startup_seconds // PROBE_SECONDS),
        },
        "readinessProbe": {
            **_probe(service, "/v2/health/ready"),
            "periodSeconds": 1,
            "failureThreshold": 1,
            "timeoutSeconds": 5,
        },
        "livenessProbe": {
            **_probe(service, "/v2/health/live"),
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 10,
        },
    }


def _probe(service: InferenceService, path: str) -> dict[str, Any]:
    """HTTP probe of the server: the kubelet asks the pod's address, and does not look whose the certificate is."""
    sealed = {"scheme": "HTTPS"} if service.spec.predictor.tls is not None else {}
    return {"httpGet": {"path": path, "port": "http", **sealed}}
