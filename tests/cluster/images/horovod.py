"""The image for horovodrun and mpirun: the trainer's with Horovod and Open MPI, built for those who ask."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import paths
from tests.cluster.base import Cluster
from tests.cluster.images.build import builder_for
from tests.cluster.images.registry import named
from tests.cluster.images.wheels import pinned
from tests.cluster.local import debian
from tests.cluster.say import step

_FOLDER = paths.REPOSITORY / "images" / "horovod"
_BUILD = ("g++", "cmake", "make", "libopenmpi-dev")


def build_and_load(cluster: Cluster, trainer: str) -> str:
    """Build it on the trainer's image and load it; returns its reference. Four minutes the first time on two cores."""
    builder, registry = builder_for(cluster), named()
    if cluster.name == "existing" and registry:
        trainer = registry.local(trainer)
    with paths.lock("images"):
        wheels = wheelhouse()
        reference = _reference(trainer, wheels)
        if not builder.has(reference):
            with step("build the trainer with Horovod and Open MPI"):
                builder.build(_FOLDER / "Dockerfile", reference, wheels, base=trainer)
        with step("load it into the cluster"):
            (known,) = cluster.load([reference])
    return known


def wheelhouse() -> Path:
    """Return the folder of Horovod's wheel for this Python's torch, built first if the cache has none."""
    torch = importlib.metadata.version("torch")
    key = hashlib.sha256(f"{torch} {sys.version_info[:2]}".encode() + (_FOLDER / "wheel.sh").read_bytes()).hexdigest()
    folder = paths.cache() / "wheels" / f"horovod-{key[:12]}"
    if not folder.exists():
        debian.install(_BUILD)
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with step("build Horovod's wheel"):
            # Not the lock's whole list: its own needs are few, and torch is there.
            environment = {**os.environ, "PIP_CONSTRAINT": str(paths.REPOSITORY / "requirements.lock")}
            command = [str(_FOLDER / "wheel.sh"), sys.executable, str(partial)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                raise RuntimeError(f"Horovod cannot be built:\n{done.stderr.strip()[-4000:]}")
        (partial / "requirements.txt").write_text(pinned(partial))
        partial.rename(folder)
    return folder


def _reference(trainer: str, wheels: Path) -> str:
    repository, _, _ = trainer.rpartition("/")
    parts = trainer.encode(), (_FOLDER / "Dockerfile").read_bytes(), (wheels / "requirements.txt").read_bytes()
    return f"{repository}/trainer-horovod:{hashlib.sha256(b''.join(parts)).hexdigest()[:12]}"
