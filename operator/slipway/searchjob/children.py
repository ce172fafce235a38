"""A search's children as manifests: the trials' TrainingJobs, and the pods that measure. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from slipway.api.common.types import API_VERSION, GROUP
from slipway.api.common.uris import claims_of
from slipway.api.search import paths
from slipway.reconcile import labels
from slipway.reconcile.podspec import CLAIMS_DIR, CONFIG_DIR, caches, pod_metadata, pod_spec
from slipway.searchjob.job import Platform, SearchJob
from slipway.searchjob.record import Record, texts
from slipway.trainingjob.job import KIND as TRAINING_JOB

CONTAINER = "quantizer"
PARAMETERS = f"{GROUP}/parameters"


def trial_spec(job: SearchJob, record: Record) -> dict[str, Any]:
    """Spec of a trial's TrainingJob: the template with its parameters, and folders of its own."""
    spec = paths.put_all(dict(job.template), dict(record.parameters))
    for folder in ("output", "checkpoint"):
        if spec.get(folder):
            uri = str(spec[folder]["uri"]).rstrip("/")
            spec[folder] = {**spec[folder], "uri": f"{uri}/{job.trial(record.number)}"}
    return spec


def output_uri(job: SearchJob, number: int) -> str:
    """URI of a trial's artifact."""
    return f"{job.spec.template.output.uri.rstrip('/')}/{job.trial(number)}" if job.spec.template.output else ""


def trial(job: SearchJob, record: Record) -> dict[str, Any]:
    """A trial's TrainingJob; its parameters are in its spec, and for people in an annotation."""
    metadata = _metadata(job, job.trial(record.number))
    metadata["annotations"] = {PARAMETERS: json.dumps(texts(record.parameters), sort_keys=True)}
    return {"apiVersion": API_VERSION, "kind": TRAINING_JOB, "metadata": metadata, "spec": trial_spec(job, record)}


def config_map(job: SearchJob) -> dict[str, Any]:
    """ConfigMap with the template, as `python -m workloads bench untrained` reads it."""
    document = {
        "apiVersion": API_VERSION,
        "kind": TRAINING_JOB,
        "metadata": {"name": job.name, "namespace": job.namespace},
        "spec": job.template,
    }
    data = {"job.json": json.dumps(document, indent=1, sort_keys=True)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _metadata(job, job.config_map), "data": data}


def bench_pod(job: SearchJob, record: Record, platform: Platform) -> dict[str, Any]:
    """Pod that measures a trial with untrained weights, where the target's nodes are."""
    spec, asked = job.spec.template, job.spec.measurement
    place = {"node_selector": asked.node_selector, "tolerations": asked.tolerations}
    settings = spec.pod.model_copy(update={key: value for key, value in place.items() if value})
    mounts, volumes = _volumes(job)
    constraints = [one.wire() for one in job.spec.constraints]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": asked.image or platform.quantizer_image,
        **settings.pulled(),
        "command": ["python", "-m", "workloads", "bench", "untrained", "--config", f"{CONFIG_DIR}/job.json"],
        "args": ["--set", json.dumps(dict(record.parameters)), "--measure", json.dumps(constraints)],
        "env": _env(job),
        "resources": asked.resources.wire(),
        "volumeMounts": mounts,
        "securityContext": settings.contained(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if spec.trainer.env_from:
        container["envFrom"] = [origin.wire() for origin in spec.trainer.env_from]
    # No user's own containers: they belong to the training.
    made = pod_spec(settings, container, volumes, restartPolicy="Never", terminationGracePeriodSeconds=1)
    marks = {labels.REPLICA_TYPE: "bench", labels.REPLICA_INDEX: "0", labels.ATTEMPT: str(record.attempt)}
    metadata = pod_metadata(_metadata(job, job.bench_pod(record.number, record.attempt)), settings, marks)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made}


def suspension(*, suspend: bool) -> dict[str, Any]:
    """Merge patch of a trial."""
    return {"spec": {"runPolicy": {"suspend": suspend}}}


def is_suspended(trial: Mapping[str, Any]) -> bool:
    """Tell whether a trial's spec asks for its suspension."""
    return bool(((trial.get("spec") or {}).get("runPolicy") or {}).get("suspend"))


def _metadata(job: SearchJob, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": job.namespace, "labels": dict(job.labels), "ownerReferences": [job.owner]}


def _env(job: SearchJob) -> list[dict[str, Any]]:
    kept = caches(job.spec.template.pod, job.spec.measurement.image)
    users = [env.wire() for env in job.spec.template.trainer.env]
    named = {env["name"] for env in users}
    ours = {**kept, "PYTHONUNBUFFERED": "1"}
    return [{"name": name, "value": value} for name, value in ours.items() if name not in named] + users


def _volumes(job: SearchJob) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    mounts: list[dict[str, Any]] = [{"name": "slipway-job", "mountPath": CONFIG_DIR, "readOnly": True}]
    volumes: list[dict[str, Any]] = [{"name": "slipway-job", "configMap": {"name": job.config_map}}]
    for number, claim in enumerate(_claims(job)):
        mounts.append({"name": f"slipway-claim-{number}", "mountPath": f"{CLAIMS_DIR}/{claim}", "readOnly": True})
        volumes.append({"name": f"slipway-claim-{number}", "persistentVolumeClaim": {"claimName": claim}})
    pod = job.spec.template.pod
    return (
        mounts + [mount.wire() for mount in pod.volume_mounts],
        volumes + [volume.wire() for volume in pod.volumes],
    )


def _claims(job: SearchJob) -> list[str]:
    """Claims that data and initial weights lie on."""
    recipe = job.spec.template.recipe
    if recipe is None:
        return []
    return claims_of([recipe.dataset.uri, recipe.dataset.tokenizer, recipe.model.uri])
