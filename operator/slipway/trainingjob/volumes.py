"""Volumes of a job's pods: the rendered job, the token, claims named in URIs, /dev/shm, the user's own."""

from typing import Any

from slipway.api.common.uris import claims_of
from slipway.api.training.launchers import OffloadDevice
from slipway.api.training.runtime import NodeVolume
from slipway.reconcile.podspec import CLAIMS_DIR, CONFIG_DIR, SHARED_MEMORY_DIR, disk_volume, memory_volume
from slipway.trainingjob.job import Platform, TrainingJob

KEY_DIR = "/var/run/secrets/slipway.dev/gang"
# Some of the job's files are programs; the key is read by whatever user the image has.
EXECUTABLE, READABLE = 0o555, 0o444


def claims(job: TrainingJob) -> list[str]:
    """PersistentVolumeClaims named by `pvc://claim/path` anywhere in the spec, in a stable order."""
    spec, recipe = job.spec, job.spec.recipe
    written = [target.uri for target in (spec.output, spec.checkpoint) if target]
    read = [recipe.dataset.uri, recipe.dataset.tokenizer, recipe.model.uri] if recipe else []
    taught = [recipe.distillation.teacher.uri] if recipe and recipe.distillation else []
    return claims_of([*written, *read, *taught])


def mounts_and_volumes(
    job: TrainingJob, platform: Platform, *, shared_memory: bool, keyed: bool = False
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The container's volumeMounts and the pod's volumes."""
    pairs = [_job_volume(job), *platform.endpoint.volumes()]
    if keyed:
        pairs.append(_key_volume(job))
    if shared_memory:
        pairs.append(_shared_memory_volume(job))
    pairs += [_claim_volume(index, claim) for index, claim in enumerate(claims(job))]
    pairs += [_node_volume(index, one) for index, one in enumerate(job.node_volumes)]
    pairs += [_scratch_volume(job, index, path) for index, path in enumerate(_scratch_paths(job))]
    mounts = [mount for mount, _ in pairs] + [mount.wire() for mount in job.spec.pod.volume_mounts]
    volumes = [volume for _, volume in pairs] + [volume.wire() for volume in job.spec.pod.volumes]
    return mounts, volumes


Pair = tuple[dict[str, Any], dict[str, Any]]


def _job_volume(job: TrainingJob) -> Pair:
    return (
        {"name": "slipway-job", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "slipway-job", "configMap": {"name": job.config_map, "defaultMode": EXECUTABLE}},
    )


def _key_volume(job: TrainingJob) -> Pair:
    return (
        {"name": "slipway-gang", "mountPath": KEY_DIR, "readOnly": True},
        {"name": "slipway-gang", "secret": {"secretName": job.secret, "defaultMode": READABLE}},
    )


def _scratch_paths(job: TrainingJob) -> list[str]:
    """Folders into which DeepSpeed offloads to disk, unless the user has mounted something there."""
    if job.spec.deepspeed is None:
        return []
    offloads = (job.spec.deepspeed.offload_optimizer, job.spec.deepspeed.offload_param)
    wanted = {o.nvme_path.rstrip("/") for o in offloads if o and o.device is OffloadDevice.NVME and o.nvme_path}
    mounted = [f"{mount.mount_path.rstrip('/')}/" for mount in job.spec.pod.volume_mounts]
    return sorted(path for path in wanted if not any(f"{path}/".startswith(mount) for mount in mounted))


def _scratch_volume(job: TrainingJob, index: int, path: str) -> Pair:
    name = f"slipway-nvme-{index}"
    return {"name": name, "mountPath": path}, disk_volume(name, job.spec.trainer.resources_per_node.wire())


def _shared_memory_volume(job: TrainingJob) -> Pair:
    limit, resources = job.spec.shared_memory.size_limit, job.spec.trainer.resources_per_node.wire()
    return {"name": "slipway-shm", "mountPath": SHARED_MEMORY_DIR}, memory_volume("slipway-shm", resources, limit)


def _node_volume(index: int, given: NodeVolume) -> Pair:
    name = f"slipway-node-{index}"
    return (
        {"name": name, "mountPath": given.mount_path, "readOnly": given.read_only},
        {"name": name, "hostPath": given.host_path.wire()},
    )


def _claim_volume(index: int, claim: str) -> Pair:
    # A claim's name may be four times as long as a volume's, and hold dots.
    name = f"slipway-pvc-{index}"
    return (
        {"name": name, "mountPath": f"{CLAIMS_DIR}/{claim}"},
        {"name": name, "persistentVolumeClaim": {"claimName": claim}},
    )
