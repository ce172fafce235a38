"""`make gpu`: each step in a process of its own with an end to its time; JSON, and a table of what came of each.

Needs Python, PyTorch and a GPU; what else is not installed is skipped and named. `--device cpu --small` runs the same
steps on a CPU, which shows that they run, and nothing about a GPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.gpu.step import STEPS, Skip, Step

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 480  # for all of it
NO_GPU = 3


def gpu() -> tuple[dict[str, Any], str]:
    """Facts about the first GPU; or none, and why."""
    try:
        import torch
    except ImportError as error:
        return {}, f"PyTorch is not installed ({error})"
    if not torch.cuda.is_available():
        return {}, f"PyTorch {torch.__version__} finds no CUDA device here"
    found = torch.cuda.get_device_properties(0)
    facts = {"gpu": found.name, "memoryGiB": round(found.total_memory / 2**30, 1), "torch": torch.__version__}
    return {**facts, "cuda": torch.version.cuda, "capability": f"sm{found.major}{found.minor}"}, ""


def about() -> dict[str, Any]:
    """The machine and the code, by the standard library alone."""
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def child(name: str, device: str, small: bool, out: Path) -> None:
    """Run one step in this process, and write what came of it."""
    step = next(one for one in STEPS if one.name == name)
    try:
        result = {"status": "ran", "rows": importlib.import_module(step.module).rows(device, small)}
    except Skip as why:
        result = {"status": "skipped", "reason": str(why)}
    except ImportError as error:
        result = {"status": "skipped", "reason": f"not installed: {error}"}
    except Exception as error:
        result = {"status": "failed", "reason": f"{type(error).__name__}: {error}"[:2000]}
    out.write_text(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # what libraries leave running does not hold the next step up


def run(step: Step, device: str, small: bool, seconds: float) -> dict[str, Any]:
    """One step in a process of its own, ended after so many seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slipway-gpu-") as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "tests.gpu", "--step", step.name, "--device", device, "--out", str(out)]
        env = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}"}
        if device == "cpu":
            env["CUDA_VISIBLE_DEVICES"] = ""
        process = subprocess.Popen(
            command + ["--small"] * small,
            cwd=ROOT,
            env=env,
            stdout=sys.stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()
            return {"step": step.name, "status": "stopped", "reason": f"it took longer than {seconds:.0f} s"}
        if not out.exists():
            return {"step": step.name, "status": "failed", "reason": f"the process ended with code {code}"}
        return {"step": step.name, **json.loads(out.read_text()), "seconds": round(time.monotonic() - started, 1)}


def everything(device: str, small: bool, chosen: list[str] | None) -> list[dict[str, Any]]:
    """All steps, one after the other, within SECONDS."""
    end, results = time.monotonic() + SECONDS, []
    for step in STEPS:
        if chosen and step.name not in chosen:
            continue
        left = end - time.monotonic()
        if left < 5:
            results.append({"step": step.name, "status": "skipped", "reason": f"{SECONDS} s were over"})
            continue
        results.append(run(step, device, small, min(step.seconds, left)))
        print(table(results[-1:]), file=sys.stderr, flush=True)
    return results


def table(results: list[dict[str, Any]]) -> str:
    """A line for each row, or for each step that has none."""
    lines = []
    for result in results:
        rows = result.get("rows") or [{"": result.get("reason", "nothing")}]
        for row in rows:
            facts = ", ".join(f"{key} {value}" if key else str(value) for key, value in row.items() if key != "what")
            lines.append(f"{result['step']:<10} {result['status']:<8} {row.get('what', ''):<24} {facts}")
    return "\n".join(lines)


def main() -> int:
    """Exit code 0 when no step failed or was stopped, 1 when one was, 3 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="as little as shows that it runs")
    parser.add_argument("--only", action="append", choices=[step.name for step in STEPS])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--step", choices=[step.name for step in STEPS], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step is not None:
        child(chosen.step, chosen.device, chosen.small, chosen.out)
    facts, why = gpu()
    if chosen.device == "cuda" and not facts:
        print(f"no GPU, so nothing was measured: {why}. `--device cpu --small` shows that the steps run.")
        return NO_GPU
    results = everything(chosen.device, chosen.small, chosen.only)
    document = {"machine": {**about(), **facts, "device": chosen.device}, "steps": results}
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(document, indent=1) + "\n")
    print(table(results))
    return int(any(result["status"] in {"failed", "stopped"} for result in results))


if __name__ == "__main__":
    sys.exit(main())
