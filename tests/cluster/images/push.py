"""Pushes a release's images: `make push REGISTRY=...`. Prints NAME=REFERENCE@DIGEST for `slipway install`."""

from __future__ import annotations

import os
import platform
from types import ModuleType

from slipway import __version__
from tests.cluster import paths
from tests.cluster.base import ClusterError
from tests.cluster.images import buildah, docker
from tests.cluster.images.build import IMAGES, local_images
from tests.cluster.images.registry import VARIABLE, named
from tests.cluster.say import step

_MACHINES = {"x86_64": "linux/amd64", "aarch64": "linux/arm64", "arm64": "linux/arm64"}


def builder() -> ModuleType:
    """Docker where its engine answers, else buildah."""
    return docker if docker.works() else buildah


def push(tag: str = "", platforms: str = "") -> dict[str, str]:
    """Build and push all images; return each one's reference with its digest, by its name. Raises ClusterError.

    `platforms`: as docker takes them, with commas between; this machine's own when empty. buildah builds for this one.
    """
    registry = named()
    if registry is None:
        raise ClusterError(
            f"where to? make push REGISTRY=registry.example.com/slipway (or {VARIABLE} in the environment)"
        )
    registry.ping()
    here, chosen = _MACHINES.get(platform.machine(), ""), builder()
    wanted = [one.strip() for one in platforms.split(",") if one.strip()] or [here]
    if chosen is buildah and wanted != [here]:
        raise ClusterError(
            f"PLATFORMS={platforms}: without Docker's buildx only {here} is built here; run it where a Docker engine "
            "answers and can run the other platform's programs (docker run --privileged with binfmt, or a native node)"
        )
    tag = tag or __version__
    if wanted != [here]:
        return {i.name: docker.publish(i.dockerfile, f"{registry.prefix}/{i.name}:{tag}", wanted) for i in IMAGES}
    pushed = {}
    with paths.lock("images"):
        for name, local in local_images(chosen).items():
            target = registry.reference(local, tag)
            with step(f"push {target}"):
                pushed[name] = f"{target}@{chosen.push(local, target, insecure=registry.insecure)}"
    return pushed


def main() -> None:
    """What the Makefile asks for."""
    for name, reference in push(os.environ.get("TAG", ""), os.environ.get("PLATFORMS", "")).items():
        print(f"{name}={reference}")
