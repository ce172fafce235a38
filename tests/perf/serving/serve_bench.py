"""How close does the server come to its engine? `python -m tests.perf.serving.serve_bench [--seconds 3] [--rounds 3]`.

One model (an MLP of 1.3 million parameters, ONNX Runtime, one thread), one run: the bare engine in this process, then
the server at several numbers of connections, and again. What is compared was measured seconds apart, so a busy machine
hurts both alike. Needs `wrk`. A real Triton is in every round too, where it can be installed; with SLIPWAY_PEERS
other servers as well (see tests/perf/peers), JSON only; with SLIPWAY_TRITON_ONNXRUNTIME a Triton that runs the model by
its own backend for ONNX Runtime.

- `engine`: rows a second of session.run by rows of a batch, no HTTP: the limit is the best of them.
- servers: requests of one row; `ratio` to the limit; `cpu_us` is the CPU time of all its processes per request, and
  `front_us` our event loop's part of that.
- `... at 50 %` and `at 85 %`: an open loop at these shares of what the server gave the same generator at full load a
  moment before. A rate from minutes ago may be more than a busy machine has left.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import psutil

from tests.conformance import environments
from tests.conformance.nvidia import triton
from tests.conformance.server import ROOT, Server
from tests.perf.peers.start import present, running, versions
from tests.perf.serving import open_loop
from tests.unit.serve import onnx_models
from workloads.serve.datatypes import Array

SIZES = (256, 1024, 1024, 10)
BATCHES = (1, 2, 4, 8, 16, 32)
CONNECTIONS = (1, 8, 32, 128)
STEADY_SHARES = (50, 85)


def bare_engine(path: Path, seconds: float) -> dict[str, float]:
    """Rows a second by rows of a batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    result = {}
    for rows in BATCHES:
        x = np.random.default_rng(0).standard_normal((rows, SIZES[0]), dtype=np.float32)
        until, count, started = time.perf_counter() + seconds / len(BATCHES), 0, time.perf_counter()
        while time.perf_counter() < until:
            session.run(None, {"x": x})
            count += rows
        result[str(rows)] = round(count / (time.perf_counter() - started), 1)
    return result


def row() -> Array:
    """What every request holds."""
    return np.random.default_rng(0).standard_normal((1, SIZES[0]), dtype=np.float32).round(6)


@dataclass(frozen=True)
class Sent:
    """One request, for wrk as a script and for the open loop as it is."""

    script: Path
    body: bytes
    headers: Mapping[str, str]


def script(folder: Path, name: str, body: bytes, headers: Mapping[str, str]) -> Sent:
    """Post this body."""
    (folder / f"{name}.body").write_bytes(body)
    path = folder / f"{name}.lua"
    read = f'local f = io.open("{folder}/{name}.body", "rb")\nwrk.body = f:read("*a")\nf:close()\n'
    lines = [f'wrk.headers["{header}"] = "{value}"\n' for header, value in headers.items()]
    path.write_text(read + 'wrk.method = "POST"\n' + "".join(lines))
    return Sent(path, body, dict(headers))


def scripts(folder: Path) -> dict[str, Sent]:
    """The protocol's two forms of one row."""
    x = row()
    tensor = {"name": "x", "shape": [1, SIZES[0]], "datatype": "FP32"}
    parameters = {"binary_data_size": x.nbytes}
    output = {"name": "y", "parameters": {"binary_data": True}}
    head = orjson.dumps({"inputs": [{**tensor, "parameters": parameters}], "outputs": [output]})
    as_json = orjson.dumps({"inputs": [{**tensor, "data": x[0].astype(float).tolist()}]})
    length = {"Inference-Header-Content-Length": str(len(head))}
    return {
        "binary": script(folder, "binary", head + x.tobytes(), length),
        "json": script(folder, "json", as_json, {"Content-Type": "application/json"}),
    }


@dataclass(frozen=True)
class Target:
    """A server under load. `front`: its process' first thread is its event loop."""

    name: str
    port: int
    pid: int
    scripts: Mapping[str, Sent]
    path: str = "/v2/models/mlp/infer"
    front: bool = False

    def cpu(self) -> float:
        """Seconds of CPU time of the process and its children."""
        seconds = 0.0
        for one in [root := psutil.Process(self.pid), *root.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, OSError):
                tasks = Path(f"/proc/{one.pid}/task").glob("*/schedstat")
                seconds += sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
        return seconds

    def front_cpu(self) -> float:
        """Seconds of CPU time of the first thread."""
        return int(Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9


MILLIS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def percentile(text: str, which: str) -> float:
    """Of wrk's latency distribution, in milliseconds."""
    found = re.search(rf"\b{which}%\s+([\d.]+)(us|ms|s)", text)
    return round(float(found[1]) * MILLIS[found[2]], 3) if found else float("nan")


def load(target: Target, sent: Sent, connections: int, seconds: float) -> dict[str, float]:
    """One measurement with wrk, one thread of it."""
    url = f"http://127.0.0.1:{target.port}{target.path}"
    cpu, front = target.cpu(), target.front_cpu()
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
        "-s",
        str(sent.script),
        url,
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    cpu, front = target.cpu() - cpu, target.front_cpu() - front
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    assert found is not None, text
    assert "Non-2xx" not in text, text
    requests = int(found[1])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return {
        "rps": float(rate[1]) if rate else 0.0,
        "p50_ms": percentile(text, "50"),
        "p99_ms": percentile(text, "99"),
        "cpu_us": round(cpu / requests * 1e6, 1),
        **({"front_us": round(front / requests * 1e6, 1)} if target.front else {}),
    }


def machine() -> dict[str, object]:
    """Where and when this was measured."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], check=False, capture_output=True, text=True, cwd=ROOT
    )
    return {
        "commit": commit.stdout.strip(),
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _tritons() -> list[tuple[str, str]]:
    """Names in the results, and folders of Triton's own backend; without one it is the Python backend."""
    built = os.environ.get("SLIPWAY_TRITON_ONNXRUNTIME")
    return ([("triton", ""), *([("triton-onnxruntime", built)] if built else [])]) if environments.server()[0] else []


@contextlib.contextmanager
def _triton(folder: Path, path: Path, forms: Mapping[str, Sent], name: str, backend: str) -> Iterator[Target]:
    model = triton.Model("mlp", path, [("x", "FP32", [SIZES[0]])], [("y", "FP32", [SIZES[-1]])])
    (folder / name).mkdir()
    peer = triton.Triton(environments.server()[0], folder / name, [model], backend)
    try:
        yield Target(name, peer.wait().port, peer.process.pid, forms)
    finally:
        peer.stop()


@contextlib.contextmanager
def targets(folder: Path, path: Path, before: Path | None) -> Iterator[list[Target]]:
    """Ours, and the others that are there. `before`: a checkout of ours as it was."""
    forms = scripts(folder)
    with contextlib.ExitStack() as stack:
        found = []
        for name, checkout in (("slipway", ROOT), ("before", before)):
            if checkout is not None:
                options = ("--model", str(path), "--threads", "1", "--engine", "onnxruntime")
                paths = {"PYTHONPATH": f"{checkout / 'operator'}:{checkout}"}
                server = Server(folder / f"{name}.log", *options, env=paths).wait()
                stack.callback(server.stop)
                found.append(Target(name, server.port, server.process.pid, forms, front=True))
        found += [stack.enter_context(_triton(folder, path, forms, *one)) for one in _tritons()]
        numbers = orjson.dumps(row()[0].astype(float).tolist())
        for other in present():
            port, pid = stack.enter_context(running(other, path, numbers, SIZES[0], folder / f"{other.name}.log"))
            body = other.request(numbers, SIZES[0])
            sent = {"json": script(folder, other.name, body, {"Content-Type": "application/json"})}
            if other.binary:
                sent = {"binary": forms["binary"], **sent}
            found.append(Target(other.name, port, pid, sent, other.path))
        yield found


def rounds(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Engine, servers, engine, servers, ..."""
    seconds, connections = options.seconds, options.connections
    path = onnx_models.mlp(folder / "mlp.onnx", SIZES)
    result = []
    with targets(folder, path, options.before) as servers:
        for target in servers:
            for sent in target.scripts.values():
                load(target, sent, 8, 1)  # warm caches, so that the first round is like the others
        for _ in range(options.rounds):
            engine = bare_engine(path, seconds)
            one: dict[str, Any] = {"engine": engine, "load": os.getloadavg()[0]}
            for form, at_once, target in itertools.product(("binary", "json"), connections, servers):
                if form in target.scripts:
                    seen = load(target, target.scripts[form], at_once, seconds)
                    ratio = round(seen["rps"] / max(engine.values()), 3)
                    one[f"{target.name} {form}@{at_once}"] = {**seen, "ratio": ratio}
            for target in servers if not options.closed else ():
                one |= steady(target, seconds)
            result.append(one)
    return result


def steady(target: Target, seconds: float) -> dict[str, dict[str, float]]:
    """The open loop, in the fastest form that the server takes."""
    form = next(iter(target.scripts))
    sent = target.scripts[form]
    request = open_loop.request_bytes(target.path, dict(sent.headers), sent.body)
    most = open_loop.capacity(target.port, request, seconds)
    return {
        f"{target.name} {form} at {share} %": open_loop.run(target.port, request, most * share / 100, seconds)
        for share in STEADY_SHARES
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.perf.serving.serve_bench", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--closed", action="store_true", help="no open loop")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="of an older commit, to be measured as well")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed")
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        measured = rounds(Path(folder), options)
    summary = {}
    for name in measured[0]:
        if isinstance(measured[0][name], dict) and name != "engine":
            values = [one[name] for one in measured]
            summary[name] = {key: round(statistics.median(v[key] for v in values), 3) for key in values[0]}
    known = versions() | ({"before": options.before.name} if options.before else {})
    document = {"machine": about, "peers": known, "median": summary, "rounds": measured}
    text = json.dumps(document, indent=1)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(json.dumps({"machine": document["machine"], "engine": measured[-1]["engine"], "median": summary}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
