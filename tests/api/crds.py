"""Our CRDs on a control plane of the tests' own, without kubectl; returns when they are served."""

from __future__ import annotations

from pathlib import Path

from slipway.install import yaml_files
from tests.api.watching import watch
from tests.cluster.paths import REPOSITORY
from tests.cluster.rest import Client

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install_crds(client: Client, folder: Path = REPOSITORY / "crds") -> None:
    """Create what the folder holds, and wait until each is established. An old server drops the rules that it can't
    read.
    """
    documents = [yaml_files.document(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    names = []
    for document in documents:
        if document["kind"] == "CustomResourceDefinition":
            client.apply(_CRDS, document)
            names.append(document["metadata"]["name"])
    watch(client, _CRDS, lambda all_: all(_established(all_[name]) for name in names))


def _established(crd: dict[str, object]) -> bool:
    status = crd.get("status") or {}
    marks = status.get("conditions") or [] if isinstance(status, dict) else []
    return any(mark["type"] == "Established" and mark["status"] == "True" for mark in marks)
