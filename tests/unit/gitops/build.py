"""Builds a kustomization with kubectl, as a user does."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from slipway.install import yaml_files
from tests.cluster import trixie
from tests.cluster.paths import REPOSITORY

Object = dict[str, Any]
OVERLAYS = REPOSITORY / "manifests" / "overlays"


@cache
def kubectl() -> str:
    """The machine's kubectl, else trixie's: bookworm's is of 2021 and takes no folders under `resources`."""
    try:
        done = subprocess.run(["kubectl", "kustomize", str(OVERLAYS / "cluster")], capture_output=True, check=False)
        usable = done.returncode == 0 or b"must be a file" not in done.stderr
    except FileNotFoundError:
        usable = False
    return "kubectl" if usable else str(fetched("kubectl"))


def fetched(name: str) -> Path:
    """trixie's program; the test is skipped where its packages are out of reach."""
    try:
        return trixie.program(name)
    except trixie.OutOfReachError as error:
        pytest.skip(f"no {name} that can do this, and Debian trixie is out of reach: {error}")


@cache
def build(folder: Path) -> list[Object]:
    """The objects of a kustomization: look at them, change none. Fails with kubectl's words."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml_files.documents(done.stdout))


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [obj for obj in objects if obj["kind"] == kind]
