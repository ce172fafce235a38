"""Collects an image's wheels on this machine, with its pip configuration: images are built without network."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import paths
from tests.cluster.say import step

_LOCK = paths.REPOSITORY / "requirements.lock"
_LIST = paths.REPOSITORY / "images" / "requirements.py"


def wheelhouse(image: str, extra: str) -> Path:
    """Return a folder with the locked wheels of the project's dependencies, or of an extra, and a `requirements.txt`.

    Raises RuntimeError with pip's words.
    """
    listed = subprocess.run(
        [sys.executable, _LIST, *([extra] if extra else [])], capture_output=True, text=True, check=True
    )
    wanted = listed.stdout.split("\n")
    key = hashlib.sha256(_LOCK.read_bytes() + listed.stdout.encode()).hexdigest()[:12]
    folder = paths.cache() / "wheels" / f"{extra or 'core'}-{key}"
    if not folder.exists():
        with step(f"collect the wheels of the {image}"):
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            pip = [sys.executable, "-m", "pip", "wheel", "-q", "-w", str(partial), "-c", str(_LOCK)]
            done = subprocess.run([*pip, *filter(None, wanted)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"pip can't collect the wheels: {done.stderr.strip()}")
            (partial / "requirements.txt").write_text(pinned(partial))
            partial.rename(folder)
    return folder


def pinned(folder: Path) -> str:
    """Return a requirements file that takes exactly the wheels of a folder, by hash."""
    lines = []
    for wheel in sorted(folder.glob("*.whl")):
        name, version = wheel.name.split("-")[:2]
        with wheel.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        lines.append(f"{re.sub('[-_.]+', '-', name).lower()}=={version} --hash=sha256:{digest}")
    return "\n".join(lines) + "\n"
