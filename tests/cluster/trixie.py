"""Programs that Debian 12 has not, or only in a version of 2021: from trixie's packages, unpacked into the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cluster.local.debian import quiet
from tests.cluster.paths import cache, lock

SOURCE = "deb http://deb.debian.org/debian trixie main\n"


class OutOfReachError(Exception):
    """apt cannot get the package: its words."""


def program(name: str) -> Path:
    """`kind` or `kubectl` of trixie, fetched once. Nothing is installed. Raises OutOfReachError."""
    folder = cache() / "trixie" / name
    found = folder / "usr" / "bin" / name
    with lock(f"trixie-{name}"):
        if not found.exists():
            try:
                _fetch(name, folder)
            except (OSError, RuntimeError) as error:
                raise OutOfReachError(str(error)) from error
    return found


def _fetch(package: str, folder: Path) -> None:
    """apt with sources and lists of its own: the machine's stay as they are."""
    scratch = folder / "apt"
    shutil.rmtree(folder, ignore_errors=True)
    for place in ("lists/partial", "cache/archives/partial"):
        (scratch / place).mkdir(parents=True)
    (scratch / "sources.list").write_text(SOURCE)
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
    quiet(*apt, "download", f"{package}/trixie", cwd=scratch)
    (archive,) = scratch.glob(f"{package}_*.deb")
    quiet("dpkg-deb", "-x", str(archive), str(folder))
    shutil.rmtree(scratch)
