"""One installation by each way that a user has: kustomize, the Helm chart, and `slipway install`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.install import yaml_files
from tests.cluster.paths import REPOSITORY
from tests.unit.gitops.build import OVERLAYS, build
from tests.unit.install.helm import helm_python

Object = dict[str, Any]
CHART = REPOSITORY / "charts" / "slipway"
# What Helm's users expect on every object, and no other way needs.
HELMS = {"helm.sh/chart", "app.kubernetes.io/instance", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"}


def by_helm(registry: str, namespace: str, release: str = "slipway", **values: Any) -> list[Object]:
    """What `helm template` gives, by Helm's own library."""
    image = {"registry": registry, **values.pop("image", {})}
    with helm_python.Chart.load(str(CHART)) as chart:
        texts = chart.render({"image": image, **values}, name=release, namespace=namespace)
    files = [text for name, text in sorted(texts.items()) if name.endswith(".yaml")]
    return [obj for text in files for obj in yaml_files.documents(text) if obj]


def chart_for(folder: Path, minor: int) -> Path:
    """The chart; for a server before 1.25 without its CRDs, as `helm install --skip-crds` takes it.

    Helm 4 applies CRDs server-side, and such a server refuses rules that it does not know: they are applied before, by
    `kubectl apply --validate=false -k crds`.
    """
    if minor >= 25:
        return CHART
    shutil.copytree(CHART, folder / "slipway", ignore=shutil.ignore_patterns("crds"))
    return folder / "slipway"


def by_command(registry: str, namespace: str, *options: str) -> list[Object]:
    """What `slipway install` prints, without the CRDs."""
    words = ["install", "--registry", registry, "--namespace", namespace, "--no-crds", *options]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return list(yaml_files.documents(done.output))


def by_kustomize(registry: str, namespace: str, folder: Path, overlay: str = "cluster", **fields: Any) -> list[Object]:
    """What a kustomization of a user's own gives: the namespace, and the operator's image."""
    folder.mkdir(exist_ok=True)
    image = {"name": "registry.invalid/slipway/operator", "newName": f"{registry}/operator", "newTag": "0.1.0"}
    resources = [os.path.relpath(OVERLAYS / overlay, folder.resolve())]
    own = {"resources": resources, "namespace": namespace, "images": [image], **fields}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own))
    return build(folder)


def compared(objects: list[Object], keep: Callable[[Object], bool] = lambda obj: True) -> dict[str, Object]:
    """By kind, namespace and name, without what only Helm's users expect."""
    found = {}
    for obj in filter(keep, objects):
        metadata = obj["metadata"]
        labels = {key: value for key, value in metadata.get("labels", {}).items() if key not in HELMS}
        bare = {key: value for key, value in metadata.items() if key != "labels"} | (
            {"labels": labels} if labels else {}
        )
        found[f"{obj['kind']} {metadata.get('namespace', '')}/{metadata['name']}"] = {**obj, "metadata": bare}
    assert len(found) == len([obj for obj in objects if keep(obj)]), "two objects of one name"
    return found


def without_namespace_object(obj: Object) -> bool:
    """Helm makes the namespace by an option of its command, not by a template."""
    return bool(obj["kind"] != "Namespace")
