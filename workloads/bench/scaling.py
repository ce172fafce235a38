"""`python -m workloads bench scaling --config job.json --processes 1,2,4`: one training by more and more processes.

Each run is the job's own trainer under torchrun on this machine, for some steps, without checkpoints and tracking. On
CPUs every process has the same number of threads in every run, so that one process alone is not given all cores.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from slipway.api.training.launchers import LauncherName
from workloads import errors
from workloads.errors import BadInput
from workloads.pod.cpus import cpu_limit

HELD_OUT = 64  # samples evaluated, which is no training
LINES = 8  # of a failed run's log


def main(arguments: list[str]) -> int:
    """Measure and print. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workloads bench scaling", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="a TrainingJob with a recipe, as YAML or JSON")
    parser.add_argument(
        "--processes", default="1,2", metavar="N,...", help="1,2 when left out; the first is the measure"
    )
    parser.add_argument(
        "--steps", type=int, default=60, metavar="N", help="optimizer steps of each run, 60 when left out"
    )
    parser.add_argument(
        "--weak", action="store_true", help="globalBatchSize grows with the processes; else it is the same for all"
    )
    parser.add_argument("--output", choices=["text", "json"], default="text")
    options = parser.parse_args(arguments)
    try:
        report = measure(options.config, _numbers(options.processes), options.steps, weak=options.weak)
    except BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.BAD_INPUT
    print(json.dumps(report, indent=1) if options.output == "json" else table(report))
    return errors.SUCCESS


def _numbers(text: str) -> list[int]:
    try:
        found = [int(one) for one in text.split(",")]
    except ValueError as error:
        raise BadInput(f"--processes {text}: write numbers, 1,2,4") from error
    if not found or min(found) < 1 or found != sorted(set(found)):
        raise BadInput(f"--processes {text}: write numbers from 1 on, the smallest first")
    return found


def measure(config: Path, processes: list[int], steps: int, *, weak: bool) -> dict[str, Any]:
    """Figures of all runs. BadInput for a job that cannot be run so, or whose run failed."""
    from workloads.pod import job_document
    from workloads.train.job import KIND

    document = job_document.read(config, KIND)
    threads = max(1, int(cpu_limit()) // max(processes))
    rows = [_run(prepared(document, count if weak else 1, steps), count, threads) for count in processes]
    machine = {"platform": platform.platform(), "cores": cpu_limit(), "threadsOfEach": threads}
    load = round(os.getloadavg()[0], 2)
    return {
        "job": document["metadata"]["name"],
        "weak": weak,
        "steps": steps,
        "machine": machine,
        "load": load,
        "rows": compared(rows),
    }


def prepared(document: dict[str, Any], times: int, steps: int) -> dict[str, Any]:
    """The job to be measured: some steps of `times` its batch, and nothing beside. BadInput where that cannot be."""
    spec = dict(document.get("spec") or {})
    recipe = dict(spec.get("recipe") or {})
    if not recipe:
        raise BadInput("the job has no recipe: a program of your own measures itself")
    if spec.get("launcher") in {LauncherName.HOROVODRUN.value, LauncherName.MPIRUN.value}:
        raise BadInput(f"launcher {spec['launcher']} is not started here: measure with torchrun or deepspeed")
    for beside in ("checkpoint", "tracking", "elasticPolicy", "numNodes", "numProcPerNode"):
        spec.pop(beside, None)
    batch = int(recipe.get("globalBatchSize", 128)) * times
    data = {**(recipe.get("dataset") or {}), "evaluationLimit": HELD_OUT}
    alone = {"maxSteps": steps, "epochs": 10000, "rehearsal": False, "globalBatchSize": batch, "dataset": data}
    recipe = {**{k: v for k, v in recipe.items() if k not in ("evaluateEverySteps", "earlyStopping")}, **alone}
    launcher = spec.get("launcher", "torchrun")
    spec["launcher"] = "torchrun" if launcher == LauncherName.PLAIN.value else launcher
    return {**document, "spec": {**spec, "recipe": recipe}}


def _run(document: dict[str, Any], count: int, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="slipway-scaling-") as folder:
        path, output = Path(folder) / "job.json", Path(folder) / "model"
        path.write_text(json.dumps(document))
        train = [sys.executable, "-m", "workloads", "train", "--config", str(path), "--output", str(output)]
        agent = [
            sys.executable,
            "-m",
            "workloads",
            "torchrun",
            "--standalone",
            f"--nproc-per-node={count}",
            "--no-python",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        done = subprocess.run([*agent, *train], capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-LINES:])
            raise BadInput(f"the run with {count} processes failed:\n{tail}")
        rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    measured = [row for row in rows if "samplesPerSecond" in row]
    if not measured:
        raise BadInput("no epoch was trained: give it more steps")
    best = max(measured, key=lambda row: row["samplesPerSecond"])  # the first epoch has warm-up in it
    return {
        "processes": count,
        **{name: best.get(name) for name in ("samplesPerSecond", "communicationShare", "peakMemoryBytes")},
    }


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their speedup over the first, and what part that is of as many times the processes."""
    first = rows[0]
    found = []
    for row in rows:
        speedup = row["samplesPerSecond"] / first["samplesPerSecond"]
        efficiency = speedup * first["processes"] / row["processes"]
        found.append({**row, "speedup": round(speedup, 3), "efficiency": round(efficiency, 3)})
    return found


def table(report: dict[str, Any]) -> str:
    """The figures for people."""
    kind = "batch grows with the processes" if report["weak"] else "the same batch for all"
    lines = [
        f"{report['job']}: {report['steps']} steps, {kind}, threads of each: {report['machine']['threadsOfEach']}",
        f"{'processes':>9}{'samples/s':>12}{'speedup':>9}{'efficiency':>12}{'communication':>15}{'peak MiB':>10}",
    ]
    for row in report["rows"]:
        share = row["communicationShare"]
        words = "-" if share is None else f"{share:.1%}"
        memory = "-" if row["peakMemoryBytes"] is None else f"{row['peakMemoryBytes'] / 2**20:.0f}"
        lines.append(
            f"{row['processes']:>9}{row['samplesPerSecond']:>12.1f}{row['speedup']:>9.2f}{row['efficiency']:>12.1%}"
            f"{words:>15}{memory:>10}"
        )
    return "\n".join(lines)
