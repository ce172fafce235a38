"""Programs that Debian 12 has not, or only in a version of 2021: from newer packages, unpacked into the cache."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.local.debian import quiet
from tests.cluster.paths import cache, lock

SOURCE = "deb http://deb.debian.org/debian {} main\n"


class OutOfReachError(Exception):
    """apt cannot get the package: its words."""


def program(name: str) -> Path:
    """`kind` or `kubectl` of trixie, fetched once. Nothing is installed. Raises OutOfReachError."""
    return unpacked(name, [name]) / "usr" / "bin" / name


def unpacked(name: str, packages: Sequence[str], suite: str = "trixie") -> Path:
    """The folder `name` of the cache with the packages' files, fetched once. Raises OutOfReachError."""
    folder = cache() / "trixie" / name
    with lock(f"trixie-{name}"):
        if not (folder / "usr").exists():
            try:
                _fetch(packages, suite, folder)
            except (OSError, RuntimeError) as error:
                raise OutOfReachError(str(error)) from error
    return folder


def _fetch(packages: Sequence[str], suite: str, folder: Path) -> None:
    """apt with sources and lists of its own: the machine's stay as they are."""
    scratch, whole = folder / "apt", folder / "whole"
    shutil.rmtree(folder, ignore_errors=True)
    for place in ("lists/partial", "cache/archives/partial"):
        (scratch / place).mkdir(parents=True)
    (scratch / "sources.list").write_text(SOURCE.format(suite))
    options = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-q", *(f"-o={key}={value}" for key, value in options.items())]
    quiet(*apt, "update", cwd=scratch)
    # The machine may have a newer one of somebody else's, which apt would look for here.
    quiet(*apt, "download", *(f"{package}/{suite}" for package in packages), cwd=scratch)
    for archive in scratch.glob("*.deb"):
        quiet("dpkg-deb", "-x", str(archive), str(whole))
    (whole / "usr").rename(folder / "usr")  # what is there is whole
    shutil.rmtree(whole)
    shutil.rmtree(scratch)
