"""Interpreters with packages that cannot live beside ours: NVIDIA's client wants an older protobuf, its server numpy 1.

Built once under the cache, named by what is in them; an environment variable names another one instead. Where no
package index answers there is none, and the tests that need it are skipped with pip's words.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.venv import STAMP, cache

CLIENT = ("tritonclient[http,grpc]==2.73.0",)
SERVER = ("nvidia-pytriton==0.7.0", "onnxruntime==1.31.1")


def client() -> tuple[str, str]:
    """NVIDIA's client: the interpreter, or an empty string and why there is none."""
    return _python("TRITONCLIENT_PYTHON", "tritonclient", CLIENT)


def server() -> tuple[str, str]:
    """A real Triton: the same."""
    return _python("TRITON_PYTHON", "triton", SERVER)


@functools.cache
def _python(variable: str, name: str, requirements: tuple[str, ...]) -> tuple[str, str]:
    if given := os.environ.get(variable):
        return given, ""
    mark = hashlib.sha256("\n".join((sys.version.split()[0], *requirements)).encode()).hexdigest()[:12]
    path = cache() / "peers" / f"{name}-{mark}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / STAMP).exists() and (trouble := _build(path, requirements)):
            return "", trouble
    return str(path / "bin" / "python"), ""


def _build(path: Path, requirements: tuple[str, ...]) -> str:
    shutil.rmtree(path, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "-q", "--progress-bar", "off"]
    done = subprocess.run([*pip, *requirements], check=False, capture_output=True, text=True)
    if done.returncode:
        shutil.rmtree(path, ignore_errors=True)
        return done.stderr.strip()[-500:]
    (path / STAMP).touch()
    return ""
