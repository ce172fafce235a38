"""Number of CPU cores that this container may use. Asked by trainer, quantizer and server.

By its cgroup: libraries count the host's cores, and start too many threads.
"""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_limit(cgroup: Path = CGROUP) -> float:
    """CPU cores of this container: its cgroup's quota (version 2 or 1), and never more than the process may run on."""
    cores = float(len(os.sched_getaffinity(0)))
    for quota, period in (_quota_v2(cgroup), _quota_v1(cgroup)):
        if quota > 0 and period > 0:
            return min(cores, quota / period)
    return cores


def _quota_v2(cgroup: Path) -> tuple[int, int]:
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return (-1 if quota == "max" else int(quota)), int(period)
    except (OSError, ValueError):
        return -1, 0


def _quota_v1(cgroup: Path) -> tuple[int, int]:
    try:
        folder = cgroup / "cpu"
        return int((folder / "cpu.cfs_quota_us").read_text()), int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return -1, 0
