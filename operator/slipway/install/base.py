"""Reads manifests/base, what the high-availability overlay adds, and crds/: of a checkout, or of this package.

pyproject.toml puts the same folders beside this file into a wheel.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.install import yaml_files

Object = dict[str, Any]


@dataclass(frozen=True)
class ReleaseObjects:
    """Objects that a release ships, as they are in its files."""

    base: list[Object]
    # Patches of objects of `base`, and objects that are not in it.
    high_availability: list[Object]
    crds: list[Object]


def shipped() -> ReleaseObjects:
    """Read all of it. Raises FileNotFoundError where this is neither a checkout nor an installed package."""
    here = Path(__file__).resolve()
    checkout = here.parents[3]
    if (checkout / "manifests" / "base").is_dir():
        manifests, crds = checkout / "manifests", checkout / "crds"
    else:
        manifests, crds = here.parent / "manifests", here.parent / "crds"
    return ReleaseObjects(
        list(_documents(manifests / "base")),
        list(_documents(manifests / "overlays" / "high-availability")),
        list(_documents(crds)),
    )


def _documents(folder: Path) -> Iterator[Object]:
    """The resources of a kustomization, in its order, and then its patches."""
    kustomization = yaml_files.document((folder / "kustomization.yaml").read_text())
    patches = [patch["path"] for patch in kustomization.get("patches", [])]
    for name in (*kustomization["resources"], *patches):
        if (folder / name).is_file():
            yield from yaml_files.documents((folder / name).read_text())
