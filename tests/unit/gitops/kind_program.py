"""The `kind` program: the machine's, else Debian trixie's package, unpacked into the cache and not installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.cluster.paths import cache, lock

SOURCE = "deb http://deb.debian.org/debian trixie main\n"


def present() -> Path | None:
    """Where it is already, or None."""
    found = shutil.which("kind")
    kept = cache() / "kind-program" / "usr" / "bin" / "kind"
    return Path(found) if found else kept if kept.exists() else None


def fetched() -> Path | None:
    """The same, fetched by apt where it is not there; None where apt cannot get it."""
    with lock("kind-program"):
        return present() or _fetch(cache() / "kind-program")


def _fetch(folder: Path) -> Path | None:
    """apt with sources and lists of its own: the machine's stay as they are."""
    scratch = folder / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True, exist_ok=True)
    (scratch / "sources.list").write_text(SOURCE)
    options = {
        "Dir::Etc::sourcelist": scratch / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": scratch / "lists",
        "Dir::Cache": scratch / "cache",
    }
    apt = ["apt-get", "-q", *(f"-o={key}={value}" for key, value in options.items())]
    for command in ([*apt, "update"], [*apt, "download", "kind"]):
        if subprocess.run(command, cwd=scratch, capture_output=True, check=False).returncode:
            return None
    (package,) = scratch.glob("kind_*.deb")
    subprocess.run(["dpkg-deb", "-x", str(package), str(folder)], check=True)
    shutil.rmtree(scratch)
    return folder / "usr" / "bin" / "kind"
