"""Builds a kustomization with kubectl, as a user does."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.paths import REPOSITORY

Object = dict[str, Any]
OVERLAYS = REPOSITORY / "manifests" / "overlays"


def _kubectl_builds() -> bool:
    """Debian's kubectl is of 2021: its kustomize takes no folders under `resources`."""
    if not shutil.which("kubectl"):
        return False
    done = subprocess.run(["kubectl", "kustomize", str(OVERLAYS / "cluster")], capture_output=True, check=False)
    return done.returncode == 0 or b"must be a file" not in done.stderr


built_by_kubectl = pytest.mark.skipif(not _kubectl_builds(), reason="no kubectl, or one whose kustomize is of 2021")


@cache
def build(folder: Path) -> list[Object]:
    """The objects of a kustomization: look at them, change none. Fails with kubectl's words."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [obj for obj in objects if obj["kind"] == kind]
