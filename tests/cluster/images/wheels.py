"""Collects an image's wheels on this machine, with its pip configuration: images are built without network."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.cluster import paths
from tests.cluster.say import step

_LOCK = paths.REPOSITORY / "requirements.lock"
_LIST = paths.REPOSITORY / "images" / "requirements.py"


def wheelhouse(image: str, extras: Sequence[str]) -> Path:
    """Return a folder with the locked wheels of the project's dependencies, or of extras, and a `requirements.txt`.

    One that is there serves as long as the lock file still names its versions. Raises RuntimeError with pip's words.
    """
    command = [sys.executable, str(_LIST), *extras]
    wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    key = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
    folder = paths.cache() / "wheels" / f"{image}-{key}"
    pins = folder / "requirements.txt"
    if not (pins.exists() and agrees(pins.read_text(), _LOCK.read_text())):
        with step(f"collect the wheels of the {image}"):
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "-w", str(partial), "-c", str(_LOCK)]
            done = subprocess.run([*pip, *filter(None, wanted)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"pip can't collect the wheels: {done.stderr.strip()}")
            (partial / "requirements.txt").write_text(pinned(partial))
            if missing := unlocked(pinned(partial), _LOCK.read_text()):
                # Otherwise they would be collected anew every time.
                raise RuntimeError(f"requirements.lock does not name {', '.join(missing)}: add them")
            for old in folder.parent.glob(f"{image}-*"):
                if old != partial:
                    shutil.rmtree(old)
            partial.rename(folder)
    return folder


def agrees(pins: str, lock: str) -> bool:
    """Tell whether every pinned version is the one that the lock file names."""
    return not unlocked(pins, lock)


def unlocked(pins: str, lock: str) -> list[str]:
    """Return what the lock file does not name, or in another version, as name==version."""
    return [f"{name}=={version}" for name, version in sorted(_versions(pins).items() - _versions(lock).items())]


def _versions(text: str) -> dict[str, str]:
    """Return the version of each package; local parts such as `+cpu` are the index's business."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s+]+)", text, re.MULTILINE)
    return {_normal(name): version for name, version in found}


def _normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def pinned(folder: Path) -> str:
    """Return a requirements file that takes exactly the wheels of a folder, by hash."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        with wheel.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        lines.append(f"{_normal(name)}=={version} --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"
