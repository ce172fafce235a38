"""How many threads may this container use? By its cgroup: libraries count the host's cores, and start too many."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_limit(root: Path = CGROUP) -> int:
    """Whole CPUs: the cgroup's quota (version 2, else 1), rounded up, and never more than this process may run on."""
    allowed = len(os.sched_getaffinity(0))
    quota = _version_2(root / "cpu.max") or _version_1(root / "cpu")
    return max(1, min(allowed, math.ceil(quota))) if quota else allowed


def _version_2(path: Path) -> float | None:
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _version_1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None
