"""Builds images by a Docker engine, for kind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import paths


def base() -> str:
    """Return the base image: $SLIPWAY_BASE, else the Dockerfiles' default."""
    return os.environ.get("SLIPWAY_BASE", "docker.io/library/python:3.11-slim-bookworm")


def has(reference: str) -> bool:
    """Tell whether the engine has an image."""
    return subprocess.run(["docker", "image", "inspect", reference], capture_output=True, check=False).returncode == 0


def remove(references: Sequence[str]) -> None:
    """Drop images; the layers that others use stay."""
    subprocess.run(["docker", "image", "rm", *references], capture_output=True, check=False)


def build(dockerfile: Path, reference: str, wheels: Path, base: str) -> None:
    """Build a Dockerfile of the repository on `base` by buildx. Raises RuntimeError."""
    argv = ["docker", "buildx", "build", "--load", f"--build-context=wheels={wheels}"]
    argv += [f"--build-arg=BASE={base}", f"--file={dockerfile}", f"--tag={reference}", str(paths.REPOSITORY)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"docker buildx build failed:\n{done.stderr.strip()}")
