"""Builds images by a Docker engine, for kind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import paths


def works() -> bool:
    """Whether a Docker engine answers."""
    if not shutil.which("docker"):
        return False
    asked = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    return asked.returncode == 0


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


def push(reference: str, target: str, *, insecure: bool) -> str:
    """Push an image under another name; return its digest there. Raises RuntimeError.

    `insecure` is a setting of the engine, which takes localhost without TLS: a push that it refuses says so.
    """
    _run("docker", "tag", reference, target)
    _run("docker", "push", "--quiet", target)
    known = _run("docker", "image", "inspect", "--format={{json .RepoDigests}}", target)
    repository = target.rpartition(":")[0]
    return next(str(one).partition("@")[2] for one in json.loads(known) if one.startswith(f"{repository}@"))


def publish(dockerfile: Path, target: str, platforms: Sequence[str]) -> str:
    """Build for several platforms and push them as one; return the target with the digest of their list.

    The wheels are collected in the build, for each platform its own. Raises RuntimeError.
    """
    with tempfile.NamedTemporaryFile() as metadata:
        argv = [
            "docker",
            "buildx",
            "build",
            "--push",
            f"--platform={','.join(platforms)}",
            f"--build-arg=BASE={base()}",
        ]
        _run(
            *argv, f"--metadata-file={metadata.name}", f"--file={dockerfile}", f"--tag={target}", str(paths.REPOSITORY)
        )
        return f"{target}@{json.loads(Path(metadata.name).read_text())['containerimage.digest']}"


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv[:3])} failed:\n{done.stderr.strip()}")
    return done.stdout
