"""Which images there are, what they are made of, and the tag that follows from it. `build_and_load` does the work."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.cluster import paths
from tests.cluster.base import Cluster
from tests.cluster.images import buildah, docker
from tests.cluster.images.registry import LOCAL
from tests.cluster.images.wheels import wheelhouse
from tests.cluster.say import expect, say, step


@dataclass(frozen=True)
class Image:
    """One image, of images/<name>/Dockerfile.

    `extras`: whose dependencies in pyproject.toml it holds; without any, the core's. `seconds`: its first build takes.
    """

    name: str
    extras: tuple[str, ...] = ()
    seconds: float = 30

    @property
    def dockerfile(self) -> Path:
        """Its Dockerfile."""
        return paths.REPOSITORY / "images" / self.name / "Dockerfile"

    def sources(self) -> list[str]:
        """Return what the Dockerfile's last stage copies from the repository."""
        last = self.dockerfile.read_text().rpartition("\nFROM ")[2]
        return re.findall(r"^COPY (?!--from)(\S+) ", last, re.MULTILINE)

    def reference(self, base: str, wheels: Path) -> str:
        """Return the image's name, tagged by everything that goes into it."""
        digest = hashlib.sha256(
            base.encode() + self.dockerfile.read_bytes() + (wheels / "requirements.txt").read_bytes()
        )
        for path in _files(self.sources()):
            digest.update(f"{path.relative_to(paths.REPOSITORY)}\0".encode() + path.read_bytes() + b"\0")
        return f"{LOCAL}/{self.name}:{digest.hexdigest()[:12]}"


IMAGES = (
    Image("operator", ("core", "search"), 25),
    Image("trainer", ("train", "text", "stores", "deepspeed"), 120),
    Image("quantizer", ("quantize", "stores"), 110),
    Image("server", ("serve", "stores"), 100),
)
_LOAD = "load the images into the cluster"


def announce(cluster: Cluster) -> None:
    """Tell how long the steps will take that a machine without caches has before it."""
    wheels = paths.cache() / "wheels"
    expect({f"collect the wheels of the {i.name}": 25 for i in IMAGES if not [*wheels.glob(f"{i.name}-*")]})
    if not (paths.cache() / "images.json").exists():
        expect({} if cluster.name == "kind" else {buildah.MAKE_BASE: 100})
        expect({f"build the {image.name}": image.seconds for image in IMAGES} | {_LOAD: 45})


def build_and_load(cluster: Cluster) -> dict[str, str]:
    """Build what changed, load it into the cluster; return the reference of each image by its name.

    Written to images.json in the cache too. Raises ClusterError, RuntimeError.
    """
    with paths.lock("images"):
        return _build_and_load(cluster)


def builder_for(cluster: Cluster) -> ModuleType:
    """kind takes images from the Docker engine; elsewhere buildah does unless such an engine answers."""
    if cluster.name == "existing":
        return docker if docker.works() else buildah
    return docker if cluster.name == "kind" else buildah


def local_images(builder: ModuleType) -> dict[str, str]:
    """Build what changed; return the builder's name of each image."""
    built, base = {}, builder.base()
    for image in IMAGES:
        wheels = wheelhouse(image.name, image.extras)
        reference = image.reference(base, wheels)
        if builder.has(reference):
            say(f"{reference} is built already")
        else:
            with step(f"build the {image.name}"):
                builder.build(image.dockerfile, reference, wheels, base)
        built[image.name] = reference
    return built


def _build_and_load(cluster: Cluster) -> dict[str, str]:
    builder = builder_for(cluster)
    built = local_images(builder)
    with step(_LOAD):
        known = dict(zip(built, cluster.load(list(built.values())), strict=True))
    (paths.cache() / "images.json").write_text(json.dumps(known, indent=1))
    forget_old(cluster, built)
    return known


def forget_old(cluster: Cluster, built: dict[str, str], keep: int = 5) -> None:
    """Drop all but the latest `keep` builds of each image: jobs that began with the one before can still restart."""
    record = paths.cache() / "images" / "builds.json"
    record.parent.mkdir(exist_ok=True)
    builds: dict[str, list[str]] = json.loads(record.read_text()) if record.exists() else {}
    old: list[str] = []
    for name, reference in built.items():
        latest = [reference, *(r for r in builds.get(name, []) if r != reference)]
        builds[name], beyond = latest[:keep], latest[keep:]
        old += beyond
    if old:
        cluster.unload(old)
        builder_for(cluster).remove(old)
    record.write_text(json.dumps(builds, indent=1))


def _files(sources: list[str]) -> Iterator[Path]:
    for source in sources:
        top = paths.REPOSITORY / source
        found = sorted(top.rglob("*")) if top.is_dir() else [top]
        yield from (p for p in found if p.is_file() and "__pycache__" not in p.parts)
