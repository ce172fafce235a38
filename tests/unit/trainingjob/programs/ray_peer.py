"""Ray in an environment of its own, made once: 258 MB that the project's own environment does without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.paths import cache, lock

RAY = "ray[default,tune]==2.60.0"


def programs() -> Path:
    """Folder of `python3` and `ray`. The test is skipped where Ray cannot be had."""
    folder = cache() / "peers" / "ray-2.60.0"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with lock("ray-peer"):
        if not (folder / "whole").exists():
            install = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", RAY]
            for command in ([sys.executable, "-m", "venv", "--clear", str(folder)], install):
                clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
                done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean)
                if done.returncode:
                    pytest.skip(f"needs {RAY}, and pip has none: {done.stderr.strip()[-300:]}")
            (folder / "whole").touch()
    return folder / "bin"
