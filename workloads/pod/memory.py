"""Memory limit of this container, by its cgroup. Asked by servers that plan before they load."""

from pathlib import Path

from workloads.pod.cpus import CGROUP

UNLIMITED = 1 << 60  # version 1 says a number near 2^63 for no limit


def memory_limit(cgroup: Path = CGROUP) -> int | None:
    """Bytes (version 2 or 1); None without a limit."""
    for path in (cgroup / "memory.max", cgroup / "memory" / "memory.limit_in_bytes"):
        try:
            found = path.read_text().strip()
        except OSError:
            continue
        if found.isdigit() and int(found) < UNLIMITED:
            return int(found)
        return None
    return None
