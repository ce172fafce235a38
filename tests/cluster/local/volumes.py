"""Gives PersistentVolumeClaims their volumes: a folder on this machine, which both nodes see, so ReadWriteMany works.

The default StorageClass `standard`, called as kind's, points here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from tests.cluster.rest import ApiError, Client, Object

_PROVISIONER = "slipway.dev/local-folder"
_VOLUMES = "/api/v1/persistentvolumes"
CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": _PROVISIONER,
    "reclaimPolicy": "Delete",
    "volumeBindingMode": "Immediate",
}


def provide(client: Client, folder: Path, claims: Iterable[Object]) -> None:
    """Make a volume for each claim of our class that has none."""
    for claim in claims:
        wanted = claim["spec"].get("storageClassName") == CLASS["metadata"]["name"]
        if wanted and not claim["spec"].get("volumeName") and "deletionTimestamp" not in claim["metadata"]:
            body = volume(claim, folder)
            path = Path(body["spec"]["hostPath"]["path"])
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o777)  # pods of any user write here, as on other local provisioners
            client.apply(_VOLUMES, body)


def reclaim(client: Client, volumes: Iterable[Object]) -> None:
    """Delete the volumes, and their folders, whose claim is gone."""
    for body in volumes:
        ours = body["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == _PROVISIONER
        if ours and body.get("status", {}).get("phase") == "Released":
            shutil.rmtree(body["spec"]["hostPath"]["path"], ignore_errors=True)
            try:
                client.call("DELETE", f"{_VOLUMES}/{body['metadata']['name']}")
            except ApiError as error:
                if error.code != 404:
                    raise


def volume(claim: Object, folder: Path) -> Object:
    """Return the volume of a claim, bound to it by name and uid."""
    meta = claim["metadata"]
    name = f"pvc-{meta['uid']}"
    reference = {"kind": "PersistentVolumeClaim", **{key: meta[key] for key in ("namespace", "name", "uid")}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": _PROVISIONER}},
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": CLASS["metadata"]["name"],
            "claimRef": reference,
            "hostPath": {"path": str(folder / name), "type": "Directory"},
        },
    }
