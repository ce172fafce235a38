"""How close does the server come to its engine? `python -m tests.perf.serve_bench [--seconds 3] [--rounds 3]`.

One model (an MLP of 1.3 million parameters, ONNX Runtime, one thread), one run: the bare engine in this process, then
the server at several numbers of connections, and again. What is compared was measured seconds apart, so a busy machine
hurts both alike. Needs `wrk`.

- `engine`: rows a second of session.run by rows of a batch, no HTTP: the limit is the best of them.
- `server`: requests of one row; `ratio` to the limit; `front_us` is the event loop's CPU time per request, `engine_us`
  that of all other threads of the server.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path

import numpy as np
import orjson

from tests.conformance.server import ROOT, Server
from tests.unit.serve import onnx_models

SIZES = (256, 1024, 1024, 10)
BATCHES = (1, 2, 4, 8, 16, 32)
CONNECTIONS = (1, 8, 32, 128)


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


def scripts(folder: Path) -> dict[str, Path]:
    """wrk's scripts: one row as JSON, one row as binary."""
    x = np.random.default_rng(0).standard_normal((1, SIZES[0]), dtype=np.float32)
    tensor = {"name": "x", "shape": [1, SIZES[0]], "datatype": "FP32"}
    head = orjson.dumps(
        {
            "inputs": [{**tensor, "parameters": {"binary_data_size": x.nbytes}}],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        }
    )
    bodies = {
        "binary": (head + x.tobytes(), f'wrk.headers["Inference-Header-Content-Length"] = "{len(head)}"'),
        "json": (orjson.dumps({"inputs": [{**tensor, "data": x[0].round(6).astype(float).tolist()}]}), ""),
    }
    result = {}
    for name, (body, header) in bodies.items():
        (folder / f"{name}.body").write_bytes(body)
        result[name] = folder / f"{name}.lua"
        read = f'local f = io.open("{folder}/{name}.body", "rb")\nwrk.body = f:read("*a")\nf:close()\n'
        result[name].write_text(f'{read}wrk.method = "POST"\n{header}\n')
    return result


def cpu_seconds(pid: int) -> tuple[float, float]:
    """CPU time of a process' first thread, which is the event loop, and of all others."""
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            times[int(task.name)] = int((task / "schedstat").read_text().split()[0]) / 1e9
        except OSError:
            continue  # a thread that has just ended
    return times.get(pid, 0.0), sum(seconds for task, seconds in times.items() if task != pid)


MILLIS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


def percentile(text: str, which: str) -> float:
    """Of wrk's latency distribution, in milliseconds."""
    found = re.search(rf"\b{which}%\s+([\d.]+)(us|ms|s)", text)
    return round(float(found[1]) * MILLIS[found[2]], 3) if found else float("nan")


def load(server: Server, script: Path, connections: int, seconds: float) -> dict[str, float]:
    """One measurement with wrk, one thread of it."""
    url = f"http://127.0.0.1:{server.port}/v2/models/{server.name}/infer"
    front, engine = cpu_seconds(server.process.pid)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--latency", "-s", str(script), url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    front_after, engine_after = cpu_seconds(server.process.pid)
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", text)
    assert found is not None, text
    assert "Non-2xx" not in text, text
    requests = int(found[1])
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return {
        "rps": float(rate[1]) if rate else 0.0,
        "p50_ms": percentile(text, "50"),
        "p99_ms": percentile(text, "99"),
        "front_us": round((front_after - front) / requests * 1e6, 1),
        "engine_us": round((engine_after - engine) / requests * 1e6, 1),
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


def rounds(folder: Path, seconds: float, count: int) -> list[dict[str, object]]:
    """Engine, server, engine, server, ..."""
    path = onnx_models.mlp(folder / "mlp.onnx", SIZES)
    written = scripts(folder)
    server = Server(folder / "log", "--model", str(path), "--threads", "1", "--engine", "onnxruntime").wait()
    result = []
    try:
        for script in written.values():
            load(server, script, 8, 1)  # warm caches, so that the first round is like the others
        for _ in range(count):
            engine = bare_engine(path, seconds)
            limit = max(engine.values())
            one: dict[str, object] = {"engine": engine, "load": os.getloadavg()[0]}
            for name, script in written.items():
                for connections in CONNECTIONS:
                    seen = load(server, script, connections, seconds)
                    one[f"{name}@{connections}"] = {**seen, "ratio": round(seen["rps"] / limit, 3)}
            result.append(one)
    finally:
        server.stop()
    return result


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.perf.serve_bench", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed")
    with tempfile.TemporaryDirectory() as folder:
        measured = rounds(Path(folder), options.seconds, options.rounds)
    summary = {}
    for name in measured[0]:
        if "@" in name:
            values = [one[name] for one in measured]
            summary[name] = {key: round(statistics.median(v[key] for v in values), 3) for key in values[0]}  # type: ignore[index]
    document = {"machine": machine(), "median": summary, "rounds": measured}
    text = json.dumps(document, indent=1)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(json.dumps({"machine": document["machine"], "engine": measured[-1]["engine"], "median": summary}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
