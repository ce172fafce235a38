"""How is a job run end to end? By the command that a user types, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def workloads(*arguments: str) -> None:
    """`python -m workloads ...` with one thread; its words go to ours. CalledProcessError when it fails."""
    path = f"{ROOT / 'operator'}:{ROOT}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-u", "-m", "workloads", *arguments], check=True, env=environment)


def quantized(name: str, folder: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """The report of a job, all of whose files are in the folder; CalledProcessError when nothing passes its gates."""
    spec = {"onFailure": "fail", "output": {"uri": (folder / "quantized").as_uri()}, **spec}
    document = {"apiVersion": "slipway.dev/v1alpha1", "kind": "QuantizationJob", "metadata": {"name": name}}
    (folder / "job.yaml").write_text(yaml.safe_dump({**document, "spec": spec}))
    workloads("quantize", "--config", str(folder / "job.yaml"))
    report: dict[str, Any] = json.loads((folder / "quantized" / "report.json").read_text())
    return report
