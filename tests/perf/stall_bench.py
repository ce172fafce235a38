"""What one hostile client costs a polite one: its latencies alone, beside it, and alone again; and the server's memory.

`python -m tests.perf.stall_bench --out tests/perf/results/stalls.json`. The polite client sends a small picture at a
time, the hostile ones are in a process of their own and never pause. With other work on the machine the figures say
little: `load` is measured with each row.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from tests.conformance.server import Server
from tests.perf import machine
from tests.unit.serve.artifacts import small_cnn
from tests.unit.serve.test_decoding import flat_png

HEADERS = {"Content-Type": "image/png"}
CONNECTIONS = 8
HOSTILE = """
import collections, http.client, json, pathlib, sys, threading, time
port, path, seconds, connections = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
content, answers = pathlib.Path(path).read_bytes(), collections.Counter()
def attack():
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            while True:
                connection.request("POST", "/predict", content, {"Content-Type": "image/png"})
                reply = connection.getresponse()
                reply.read()
                answers[reply.status] += 1
        except OSError:
            answers["cut off"] += 1
for _ in range(connections):
    threading.Thread(target=attack, daemon=True).start()
time.sleep(seconds)
print(json.dumps(answers))
"""


def encoded(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(stream, "PNG")
    return stream.getvalue()


def polite(port: int, content: bytes, seconds: float) -> dict[str, Any]:
    """Milliseconds of its requests, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    times, refused, until = [], 0, time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        connection.request("POST", "/predict", content, HEADERS)
        reply = connection.getresponse()
        reply.read()
        times.append((time.perf_counter() - started) * 1000)
        refused += reply.status != 200
        time.sleep(0.005)
    times.sort()
    return {
        "requests": len(times),
        "refused": refused,
        "p50": round(statistics.median(times), 2),
        "p99": round(times[min(len(times) - 1, int(len(times) * 0.99))], 2),
        "load": machine.load(),
    }


def beside(server: Server, path: Path, content: bytes, seconds: float) -> dict[str, Any]:
    """The polite client, while the others send this file."""
    arguments = [str(server.port), str(path), str(seconds + 3), str(CONNECTIONS)]
    hostile = subprocess.Popen([sys.executable, "-c", HOSTILE, *arguments], stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    row = polite(server.port, content, seconds)
    answers, _ = hostile.communicate()
    return {**row, "answersToTheHostile": json.loads(answers), "rssMiB": machine.rss_mib(server.process.pid)}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.stall_bench")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    attacks = {
        "png of 2 million pixels": flat_png(1460, 1460),
        "png of 16 million pixels": flat_png(4000, 4000),
        "png of 64 million pixels": flat_png(8000, 8000),
    }
    small, rows = encoded(300, 300), {}
    about = machine.describe()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact, _ = small_cnn(folder / "cnn")
        server = Server(folder / "log", "--model", str(artifact)).wait()
        try:
            polite(server.port, small, 2)
            rows["alone"] = {
                **polite(server.port, small, options.seconds),
                "rssMiB": machine.rss_mib(server.process.pid),
            }
            for attack, content in attacks.items():
                (folder / "picture").write_bytes(content)
                rows[attack] = {"bytes": len(content), **beside(server, folder / "picture", small, options.seconds)}
            rows["alone again"] = polite(server.port, small, options.seconds)
        finally:
            server.stop()
    text = json.dumps({"machine": about, "rows": rows}, indent=1)
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
