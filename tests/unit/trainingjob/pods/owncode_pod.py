"""The pod of a job with a command of its own, run here as a node would run it: files, environment, last words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from slipway.reconcile.podspec import CLAIMS_DIR, CONFIG_DIR
from tests.cluster.paths import REPOSITORY
from tests.ports import free_port

Object = dict[str, Any]


def run(pod: Object, files: dict[str, str], root: Path, **env: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """`root` has a folder `claims` that stands for the mounted claims. Returns the process and its last words."""
    config, claims, words = root / "config", root / "claims", root / "last-words"
    for folder in (config, claims):
        folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (config / name).write_text(text)
    words.write_text("")
    container = pod["spec"]["containers"][0]

    def here(text: str) -> str:
        return text.replace(CONFIG_DIR, str(config)).replace(CLAIMS_DIR, str(claims))

    told = {e["name"]: here(e["value"]) for e in container["env"] if "value" in e}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    meeting = {"PET_MASTER_PORT": str(free_port()), "PET_MASTER_ADDR": "127.0.0.1"}
    whole = {**os.environ, **told, **meeting, "PATH": path, "SLIPWAY_TERMINATION_LOG": str(words), **env}
    command = [here(word) for word in (*container["command"], *container.get("args", ()))]
    done = subprocess.run(command, env=whole, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    return done, words.read_text()
