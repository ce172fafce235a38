"""Build of Triton's ONNX Runtime backend: `python -m tests.perf.peers.triton_onnxruntime SOURCES OUT`.

The Triton of tests/conformance/nvidia has the Python backend alone. SOURCES holds checkouts of
triton-inference-server's `onnxruntime_backend`, `backend`, `core` and `common` at one release (r25.06 fits), and ONNX
Runtime's C headers in `headers`; rapidjson's headers are the system's (`rapidjson-dev`), and ONNX Runtime itself is the
environment's. For CPUs. `SLIPWAY_TRITON_ONNXRUNTIME=OUT` then names it to the benchmark.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.conformance import environments

COMMON = ("async_work_queue.cc", "thread_pool.cc", "error.cc", "logging.cc")
# Asks the CUDA driver, and is called for GPUs alone.
LEFT = {"device_memory_tracker.cc"}
RUNTIME = "libonnxruntime.so.1"
FLAGS = ["-O2", "-fPIC", "-std=c++17", "-DTRITON_ENABLE_STATS=1", "-DTRITON_ENABLE_LOGGING=1", "-w"]


def build(sources: Path, out: Path) -> None:
    """Two libraries in `out`: the backend, and the runtime beside it."""
    python, why = environments.server()
    if not python:
        sys.exit(f"there is no Triton to build for: {why}")
    (runtime,) = Path(python).parents[1].glob(f"lib/python*/site-packages/onnxruntime/capi/{RUNTIME}.*")
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(runtime, out / RUNTIME)
    includes = ("headers", "backend/include", "core/include", "common/include", "onnxruntime_backend/src")
    options = [*FLAGS, *(f"-I{sources / one}" for one in includes)]
    files = [*sources.glob("onnxruntime_backend/src/*.cc"), *sources.glob("backend/src/*.cc")]
    files += [sources / "common/src" / name for name in COMMON]
    objects = out / "objects"
    objects.mkdir(exist_ok=True)

    def compiled(path: Path) -> str:
        made = str(objects / f"{path.stem}.o")
        subprocess.run(["g++", *options, "-c", str(path), "-o", made], check=True)
        return made

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(compiled, (path for path in files if path.name not in LEFT)))
    library = ["-o", str(out / "libtriton_onnxruntime.so"), str(out / RUNTIME), "-Wl,-rpath,$ORIGIN", "-lpthread"]
    subprocess.run(["g++", "-shared", *made, *library], check=True)
    shutil.rmtree(objects)


if __name__ == "__main__":
    build(*map(Path, sys.argv[1:3]))
