"""Memory growth of a process while it works, for the memory figures of `bench` and of the quantizer.

Each is measured in a process of its own: a process that has held one model keeps its pages for the next.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def peak_growth(work: Callable[[], object], above: int | None = None) -> int:
    """Bytes of resident memory at the peak of `work` above what was resident before, or `above` so many bytes."""
    # Forgets the peak of the imports: Linux sets VmHWM to what is resident now (proc(5), clear_refs).
    Path("/proc/self/clear_refs").write_text("5")
    before = resident() if above is None else above
    held = work()  # until the peak is read
    grown = max(0, _status("VmHWM") - before)
    del held
    return grown


def in_fresh_process(module: str, *arguments: str) -> int | None:
    """The number of bytes that `python -m module arguments` says with `say`; None when that process failed."""
    # It finds its modules wherever this process does, however that was started.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    return int(json.loads(done.stdout.splitlines()[-1])["bytes"]) if done.returncode == 0 else None


def say(grown: int) -> None:
    """Print the bytes for the process that waits in `in_fresh_process`."""
    print(json.dumps({"bytes": grown}))


def resident() -> int:
    """Bytes of this process that are in memory."""
    return _status("VmRSS")


def _status(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))
