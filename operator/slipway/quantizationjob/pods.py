"""A job's children as manifests: the ConfigMap with the rendered job, and the pods of one stage. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from slipway.api.common.types import API_VERSION
from slipway.api.common.uris import claims_of
from slipway.api.quantization.quantizationjob import work_uri
from slipway.api.quantization.status import SHARDED, Stage
from slipway.quantizationjob.job import KIND, QUANTIZATION_JOBS, Platform, QuantizationJob
from slipway.reconcile import configmap_digest, labels
from slipway.reconcile.podspec import CLAIMS_DIR, CONFIG_DIR, caches, pod_metadata, pod_spec

CONTAINER = "quantizer"


def config_map(job: QuantizationJob, platform: Platform) -> dict[str, Any]:
    """ConfigMap of the job as `python -m workloads quantize` reads it: the source is a URI by now, and pinned."""
    spec = job.spec.wire()
    spec["model"] = {"uri": job.source.uri, **({"digest": job.source.digest} if job.source.digest else {})}
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": job.name, "namespace": job.namespace, "uid": job.uid},
        "spec": spec,
    }
    data = {"job.json": json.dumps(document, indent=1, sort_keys=True), **platform.endpoint.files()}
    metadata = _metadata(job, job.config_map)
    return configmap_digest.marked({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def is_intact(seen: Mapping[str, Any]) -> bool:
    """Tell whether nobody has changed the ConfigMap, as the cache has it."""
    return bool(seen.get(configmap_digest.INTACT, True))


def pod(job: QuantizationJob, stage: Stage, step: int, shard: int, attempt: int, platform: Platform) -> dict[str, Any]:
    """Pod of shard `shard` of a stage; every stage but the sharded ones has only shard 0."""
    settings = job.spec.pod
    mounts, volumes = _volumes(job, platform)
    command = ["python", "-m", "workloads", "quantize", "--config", f"{CONFIG_DIR}/job.json", "--stage", stage.value]
    if stage in SHARDED:
        command += ["--shard", f"{shard}/{job.spec.parallelism}"]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": job.spec.worker.image or platform.quantizer_image,
        **job.spec.pod.pulled(),
        "command": command,
        "env": _env(job, platform),
        "resources": job.spec.worker.resources.wire(),
        "volumeMounts": mounts,
        "securityContext": settings.contained(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if job.spec.worker.env_from:
        container["envFrom"] = [origin.wire() for origin in job.spec.worker.env_from]
    spec = pod_spec(
        settings,
        container,
        volumes,
        restartPolicy="Never",
        terminationGracePeriodSeconds=settings.termination_grace_period_seconds,
        **settings.beside(container),
    )
    marks = {labels.REPLICA_TYPE: stage.value, labels.REPLICA_INDEX: str(shard), labels.ATTEMPT: str(attempt)}
    metadata = pod_metadata(_metadata(job, job.pod(step, shard, attempt)), settings, marks)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _metadata(job: QuantizationJob, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": job.namespace, "labels": dict(job.labels), "ownerReferences": [job.owner]}


def _env(job: QuantizationJob, platform: Platform) -> list[dict[str, Any]]:
    path = QUANTIZATION_JOBS.path(job.namespace, job.name, "status")
    kept = caches(job.spec.pod, job.spec.worker.image)
    ours = {**kept, "PYTHONUNBUFFERED": "1", **platform.endpoint.env(path, CONFIG_DIR)}
    users = [env.wire() for env in job.spec.worker.env]
    named = {env["name"] for env in users}
    return [{"name": name, "value": value} for name, value in ours.items() if name not in named] + users


def _volumes(job: QuantizationJob, platform: Platform) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mounts: list[dict[str, Any]] = [{"name": "slipway-job", "mountPath": CONFIG_DIR, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "slipway-job", "configMap": {"name": job.config_map}}]
    for mount, volume in platform.endpoint.volumes():
        mounts.append(mount)
        volumes.append(volume)
    for number, claim in enumerate(claims(job)):
        mounts.append({"name": f"slipway-claim-{number}", "mountPath": f"{CLAIMS_DIR}/{claim}"})
        volumes.append({"name": f"slipway-claim-{number}", "persistentVolumeClaim": {"claimName": claim}})
    mounts += [mount.wire() for mount in job.spec.pod.volume_mounts]
    volumes += [volume.wire() for volume in job.spec.pod.volumes]
    return mounts, volumes


def claims(job: QuantizationJob) -> list[str]:
    """PersistentVolumeClaims named by `pvc://claim/path` anywhere in the spec, in a stable order."""
    spec = job.spec
    uris = [job.source.uri, spec.output.uri, work_uri(spec), spec.evaluation.uri]
    uris.append(spec.evaluation.dataset.uri if spec.evaluation.dataset else None)
    uris += [task.uri for task in spec.evaluation.tasks or ()]
    if spec.calibration is not None:
        uris += [spec.calibration.uri, spec.calibration.dataset.uri if spec.calibration.dataset else None]
    return claims_of(uris)
