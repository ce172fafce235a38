"""The cgroup of one node, above those of its pods: each kubelet clears away what it doesn't know below its own."""

from __future__ import annotations

from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")


def make(name: str) -> None:
    """Make a cgroup of this name in every hierarchy (version 1), or with every controller on (version 2)."""
    for hierarchy in _hierarchies():
        folder = hierarchy
        for part in name.strip("/").split("/"):
            _delegate(folder)
            folder /= part
            folder.mkdir(exist_ok=True)
            _inherit_cpuset(folder)


def remove(name: str) -> None:
    """Remove the cgroup and all below it. Its processes must be gone."""
    for hierarchy in _hierarchies():
        top = hierarchy / name.strip("/")
        below = sorted((p for p in top.rglob("*") if p.is_dir()), reverse=True) if top.exists() else []
        for folder in [*below, *([top] if top.exists() else [])]:
            folder.rmdir()


def _hierarchies() -> list[Path]:
    if (_MOUNT / "cgroup.controllers").exists():
        return [_MOUNT]
    return [p for p in _MOUNT.iterdir() if (p / "cgroup.procs").exists() and not p.is_symlink()]


def _delegate(folder: Path) -> None:
    controllers = folder / "cgroup.controllers"
    if controllers.exists():
        wanted = " ".join(f"+{c}" for c in controllers.read_text().split())
        (folder / "cgroup.subtree_control").write_text(wanted)


def _inherit_cpuset(folder: Path) -> None:
    """Version 1 leaves a new cpuset empty, and refuses processes until it has CPUs and memory."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists() and not (_MOUNT / "cgroup.controllers").exists():
            (folder / name).write_text((folder.parent / name).read_text())
