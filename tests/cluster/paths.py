"""Where the clusters keep what they download, build and run: one cache folder, nothing elsewhere on the machine.

Everything below `cache()` may be deleted at any time: the next `up` makes it again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def cache() -> Path:
    """Return the cache folder: $SLIPWAY_CACHE, else $XDG_CACHE_HOME/slipway, else ~/.cache/slipway. It exists."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("SLIPWAY_CACHE") or Path(root) / "slipway").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Let one process at a time do what `name` stands for; the others wait. The kernel frees it when a process dies."""
    with (cache() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def local() -> Path:
    """Return the folder of the running local cluster: kubeconfig, logs, pids, node disks."""
    return cache() / "local"
