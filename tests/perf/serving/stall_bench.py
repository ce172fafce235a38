"""What one hostile client costs a polite one, and the server's memory: `python -m tests.perf.serving.stall_bench [--out
FILE] [--only ROW...]`. Rows of one run replace those of FILE; the others stay as they are.

The polite client sends a small request every few milliseconds: alone, beside each hostile one
(tests/hostile/stalls.py), and beside a neighbour that takes as many cores as the hostile one does and asks nothing of
the server, by turns. Hostile client and neighbour run as SCHED_IDLE: on a cluster they would have a machine of their
own, and what it costs to make the requests is not what is measured. What the server does for them is its own.

Beside the clock, of each request: CPU time that the server's loop has spent between question and answer, and how long
it and the polite client were ready to run and had no core. Memory is that of the server and its processes, the most
that was seen; its bound is what it holds at rest and the bytes that requests may hold, plus a fifth.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from onnx import TensorProto

from tests.conformance.server import Server
from tests.perf import machine
from tests.perf.serving.stall_clients import Most, Polite, Seen, neighbour, resident
from tests.unit.serve.artifacts import small_cnn
from tests.unit.serve.onnx_models import identity
from workloads.serve.http.server import HttpLimits

LATE = 60.0  # seconds for its start, and for the machine
FAREWELL = 5.0
# Hostile kind and polite kind of each row, by the model.
ROWS = {
    "tensors": {
        "brackets": ("brackets", "tensors"),
        "objects": ("objects", "tensors"),
        "texts": ("texts", "tensors"),
        "honest": ("honest", "tensors"),
        "binary": ("binary", "tensors"),
        "stalled": ("stalled", "tensors"),
        "grpc": ("grpc", "tensors"),
        "grpc, by calls": ("grpc", "calls"),
        "grpc, by health": ("grpc", "watches"),
        "pings": ("pings", "calls"),
    },
    "pictures": {f"picture {side}": (f"picture {side}", "pictures") for side in (1460, 4000, 8000)},
}
ALLOWED_TIMES, ALLOWED_MEMORY = 2.0, 1.2
BUFFERED_MIB = HttpLimits().max_buffered >> 20
PHASES = ("alone", "beside", "busy")


class Hostile:
    """Beside the server while it is entered; `answers` are those that it got, `cores` what it used on its own."""

    def __init__(self, server: Server, kind: str) -> None:
        self._command = [sys.executable, "-m", "tests.hostile.stalls", kind, str(server.port), str(server.grpc_port)]
        self._command.append(server.name)
        self.answers: dict[str, int] = {}
        self.cores = 0.0

    @contextlib.contextmanager
    def beside(self, seconds: float) -> Iterator[None]:
        """From when it has begun."""
        process = subprocess.Popen([*self._command, str(seconds)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        # Where it gets no turn at all, nobody waits for its figures.
        late = threading.Timer(seconds + LATE, process.kill)
        late.start()
        try:
            assert process.stdout.readline() == "begun\n"
            before, started = sum(psutil.Process(process.pid).cpu_times()[:2]), time.monotonic()
            yield
            used = sum(psutil.Process(process.pid).cpu_times()[:2]) - before
            self.cores = max(self.cores, used / (time.monotonic() - started))
            # Without a core of its own it may take long to say what it got.
            late.cancel()
            late = threading.Timer(FAREWELL, process.kill)
            late.start()
            for name, count in json.loads(process.stdout.readline() or "{}").items():
                self.answers[name] = self.answers.get(name, 0) + count
        finally:
            late.cancel()
            process.kill()
            process.wait()


def p99(times: list[float]) -> float:
    """In milliseconds."""
    return round(1000 * sorted(times)[min(len(times) - 1, int(len(times) * 0.99))], 3)


def figures(seen: Seen) -> dict[str, float]:
    """p99 of a measurement, in milliseconds."""
    return {"clock": p99(seen.clock), "CPU": p99(seen.work), "cores": p99(seen.cores), "requests": len(seen.clock)}


def measured(server: Server, polite: Polite, kind: str, rounds: int, seconds: float) -> dict[str, Any]:
    """One row."""
    found: dict[str, list[dict[str, float]]] = {phase: [] for phase in PHASES}
    hostile = Hostile(server, kind)
    rest, most, load = resident(server.process.pid), 0.0, machine.load()
    for _ in range(rounds):
        found["alone"].append(figures(polite.seconds(seconds)))
        with Most(server.process.pid) as seen, hostile.beside(seconds + 1):
            time.sleep(0.7)
            found["beside"].append(figures(polite.seconds(seconds)))
        most = max(most, seen.mib)
        time.sleep(0.5)
        with neighbour(hostile.cores):
            found["busy"].append(figures(polite.seconds(seconds)))
    medians = {
        name: {phase: round(statistics.median(one[name] for one in found[phase]), 3) for phase in PHASES}
        for name in ("clock", "CPU", "cores")
    }
    clock = medians["clock"]
    return {
        "p99 ms": clock,
        "times": round(clock["beside"] / clock["alone"], 2),
        "times busy": round(clock["beside"] / clock["busy"], 2),
        "CPU p99 ms": medians["CPU"],
        "no core p99 ms": medians["cores"],
        "rounds": found,
        "answers": hostile.answers,
        "hostile cores": round(hostile.cores, 2),
        "MiB at rest": round(rest),
        "MiB at most": round(most),
        "MiB allowed": round(ALLOWED_MEMORY * (rest + BUFFERED_MIB)),
        "load": load,
        "commit": machine.describe()["commit"],
    }


def _write(out: Path | None, about: dict[str, Any], rows: dict[str, Any]) -> None:
    """With the rows of other runs, which stay."""
    if out is None:
        return
    before = json.loads(out.read_text()) if out.exists() else {}
    kept = {name: row for name, row in before.get("rows", {}).items() if "times busy" in row}
    report = {
        "machine": about,
        "hostile priority": "SCHED_IDLE",
        "buffered MiB": BUFFERED_MIB,
        "rows": {**kept, **rows},
    }
    out.write_text(json.dumps(report, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.serving.stall_bench")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help=f"rows: {[*ROWS['tensors'], *ROWS['pictures']]}")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    about, rows = {**machine.describe(), "load": machine.load()}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        same = identity(folder / "same.onnx", TensorProto.FLOAT)
        models = {"tensors": same, "pictures": small_cnn(folder / "cnn")[0]}
        for what, kinds in ROWS.items():
            chosen = {row: kind for row, kind in kinds.items() if not options.only or row in options.only}
            if not chosen:
                continue
            server = Server(folder / f"{what}.log", "--model", str(models[what])).wait()
            try:
                for row, (hostile, polite) in chosen.items():
                    asking = Polite(server, polite)
                    asking.seconds(0.5)
                    rows[row] = measured(server, asking, hostile, options.rounds, options.seconds)
                    print(row, json.dumps(rows[row]), flush=True)
                    _write(options.out, about, rows)
            finally:
                server.stop()
    held = (one["times"] <= ALLOWED_TIMES and one["MiB at most"] <= one["MiB allowed"] for one in rows.values())
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
