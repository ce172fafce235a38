"""A job's children as manifests: headless Service, ConfigMap, pods. Pure: the same job renders to the same bytes."""

from collections.abc import Mapping
from typing import Any

import orjson

from slipway.api.common.types import API_VERSION
from slipway.api.training.launchers import LauncherName
from slipway.api.training.learning import tracking
from slipway.api.training.processes import accelerators, processes_per_node
from slipway.api.training.trainingjob import TrainingJobSpec
from slipway.reconcile import configmap_digest, labels
from slipway.reconcile.podspec import CONFIG_DIR, caches, for_pod, pod_metadata, pod_spec
from slipway.trainingjob import network, payload, pod_groups, user_code
from slipway.trainingjob.job import KIND, TRAINING_JOBS, Platform, TrainingJob
from slipway.trainingjob.launchers import Place, hosts, launcher_of
from slipway.trainingjob.volumes import mounts_and_volumes

CONTAINER = "trainer"
BUILT_IN = ["python", "-m", "workloads", "train", "--config", f"{CONFIG_DIR}/job.json"]
# Before the variables that refer to it. Elastic nodes are found by address: a name resolves some seconds later.
POD_IP: dict[str, Any] = {"name": "SLIPWAY_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def service(job: TrainingJob, attempt: int) -> dict[str, Any]:
    """Stable names for the pods of one attempt only: a zombie of an earlier one must not be found by its peers."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(job, job.service),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {labels.JOB_UID: job.uid, labels.ATTEMPT: str(attempt)},
            "ports": [{"name": "master", "port": job.master_port, "protocol": "TCP"}],
        },
    }


def config_map(job: TrainingJob, platform: Platform) -> dict[str, Any]:
    """The job as the built-in trainer reads it, and the authority of the operator's status endpoint."""
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": job.name, "namespace": job.namespace, "uid": job.uid},
        # With all that its runtime fills in: what it was called is of no use to the pods.
        "spec": {name: value for name, value in job.spec.wire().items() if name != "runtimeRef"},
    }
    # Not json's, whose indented output takes ten times as long: of the largest spec more than the loop may be held.
    text = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS).decode()
    own = {"job.json": text, **platform.endpoint.files()}
    found = {payload.INTERFACE: payload.read(payload.INTERFACE)} if _finds_interface(job) else {}
    data = {**launcher_of(job).files(job), **user_code.files(job), **found, **own}
    metadata = _metadata(job, job.config_map)
    return configmap_digest.marked({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def leads_to(job: TrainingJob, attempt: int, seen: Mapping[str, Any]) -> bool:
    """Tell whether the Service, as the cache has it, still leads to the pods of this attempt."""
    return bool((seen.get("spec") or {}).get("selector") == service(job, attempt)["spec"]["selector"])


def is_intact(seen: Mapping[str, Any]) -> bool:
    """Tell whether nobody has changed the ConfigMap, as the cache has it."""
    return bool(seen.get(configmap_digest.INTACT, True))


def secret(job: TrainingJob) -> dict[str, Any]:
    """Secret by whose key the pods obey each other; the key itself is drawn where it is written, and once only."""
    metadata = _metadata(job, job.secret)
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "immutable": True}


def pod(job: TrainingJob, index: int, attempt: int, platform: Platform) -> dict[str, Any]:
    """Pod of node `index` of the gang."""
    settings = job.spec.pod
    marks = {labels.REPLICA_TYPE: "node", labels.REPLICA_INDEX: str(index), labels.ATTEMPT: str(attempt)}
    keyed, shared = launcher_of(job).keyed(job), _wants_shared_memory(job)
    mounts, volumes = mounts_and_volumes(job, platform, shared_memory=shared, keyed=keyed)
    container = _container(job, Place(index, attempt), platform, mounts)
    spec = pod_spec(
        settings,
        container,
        volumes,
        restartPolicy="Never",
        hostname=job.hostname(index),
        subdomain=job.service,
        terminationGracePeriodSeconds=settings.termination_grace_period_seconds,
        tolerations=tolerations(job.spec),
        **settings.beside(container),
        **network.pod_fields(job.spec.network),
    )
    metadata = pod_metadata(_metadata(job, job.pod(index, attempt)), settings, marks)
    if job.spec.scheduling.topology_spread:
        # Over this attempt's pods: those of the one before may still be going.
        mine = {"matchLabels": {labels.JOB_UID: job.uid, labels.ATTEMPT: str(attempt)}}
        spreads = job.spec.scheduling.topology_spread
        # A domain of nodes that no pod tolerates (a lost one) must not hold up the others; before 1.26 it does.
        counted = {"labelSelector": mine, "nodeTaintsPolicy": "Honor"}
        spec["topologySpreadConstraints"] = [{**spread.wire(), **counted} for spread in spreads]
    pod_groups.mark(job, attempt, metadata, spec)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _metadata(job: TrainingJob, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": job.namespace, "labels": dict(job.labels), "ownerReferences": [job.owner]}


def _container(job: TrainingJob, place: Place, platform: Platform, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    trainer, launcher = job.spec.trainer, launcher_of(job)
    command = launcher.command(job, trainer.command or BUILT_IN, place)
    if _finds_interface(job):
        command = ["python3", f"{CONFIG_DIR}/{payload.INTERFACE}", *command]
    command = user_code.command(job, place.index, command)
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": trainer.image or for_pod(platform.trainer_image, platform.gpu_image, trainer.resources_per_node.asked),
        **job.spec.pod.pulled(),
        "command": command,
        "env": _env(job, place, platform),
        "ports": _ports(job),
        "resources": trainer.resources_per_node.wire(),
        "volumeMounts": mounts,
        # Checked by the API server (and by Pod Security's "restricted"): nothing of ours runs as root.
        "securityContext": job.spec.pod.contained(*network.capabilities(job.spec.network)),
        # The log's tail becomes lastFailure.message when the container wrote no message of its own.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if trainer.env_from:
        container["envFrom"] = [origin.wire() for origin in trainer.env_from]
    if trainer.args:
        container["args"] = list(trainer.args)
    if trainer.working_dir:
        container["workingDir"] = trainer.working_dir
    return container


def _env(job: TrainingJob, place: Place, platform: Platform) -> list[dict[str, Any]]:
    ours = (
        caches(job.spec.pod, job.spec.trainer.image) | network.env(job.spec.network) | launcher_of(job).env(job, place)
    )
    if job.strategy is not None:
        ours["SLIPWAY_STRATEGY"] = job.strategy.name.value
    ours["PYTHONUNBUFFERED"] = "1"
    ours |= user_code.env(job, place.attempt)
    ours |= platform.endpoint.env(TRAINING_JOBS.path(job.namespace, job.name, "status"), CONFIG_DIR)
    tracked, secrets = _tracking_env(job.spec)
    ours |= tracked
    users = [env.wire() for env in job.spec.trainer.env]
    named = {env["name"] for env in users}
    by_address = job.spec.elastic_policy or job.spec.launcher == LauncherName.RAY
    address = [POD_IP] if by_address or _finds_interface(job) else []
    kept = [env for env in secrets if env["name"] not in named]
    return (
        address + [{"name": name, "value": value} for name, value in ours.items() if name not in named] + kept + users
    )


def _tracking_env(spec: TrainingJobSpec) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Variables of MLflow's client, and those from the Secret: optional, since no training waits for its tracking."""
    mlflow = spec.tracking.mlflow if spec.tracking is not None else None
    if mlflow is None:
        return {}, []
    named = {tracking.URI: mlflow.uri, tracking.EXPERIMENT: mlflow.experiment}
    if mlflow.secret_ref is None:
        return named, []
    keys = [{"name": mlflow.secret_ref.name, "key": name, "optional": True} for name in tracking.CREDENTIALS]
    return named, [{"name": key["key"], "valueFrom": {"secretKeyRef": key}} for key in keys]


def _finds_interface(job: TrainingJob) -> bool:
    """Tell whether the pod finds the interface of its peers by itself.

    Launcher plain starts the user's program as it is, which may be in an image without Python.
    """
    network_, foreign = job.spec.network, job.spec.launcher == LauncherName.PLAIN and job.spec.recipe is None
    return network_.host_network and network_.socket_interface is None and not foreign


def _ports(job: TrainingJob) -> list[dict[str, Any]]:
    """Container ports: on the node's network each is taken on the node, too, and the scheduler must know of all."""
    named = {"master": job.master_port}
    if job.spec.network.host_network and launcher_of(job).keyed(job):
        named["agent"] = hosts.agent_port(job)
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in named.items()]


def _wants_shared_memory(job: TrainingJob) -> bool:
    return (
        processes_per_node(job.spec) > 1
        # Its object store.
        or job.spec.launcher == LauncherName.RAY
        or accelerators(job.spec) > 0
        or bool(job.spec.recipe and job.spec.recipe.data_workers)
        or job.spec.shared_memory.size_limit is not None
    )


def tolerations(spec: TrainingJobSpec) -> list[dict[str, Any]]:
    """Tolerations: the user's, and how long a silent node is waited for."""
    # Kubernetes' default is 300 s on a dead node, all the while the other nodes of the gang wait in a collective.
    grace = spec.failure_policy.node_lost_grace_seconds
    lost = [
        {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": grace}
        for taint in ("not-ready", "unreachable")
    ]
    users = [toleration.wire() for toleration in spec.pod.tolerations]
    named = {toleration.get("key") for toleration in users}
    return users + [toleration for toleration in lost if toleration["key"] not in named]
