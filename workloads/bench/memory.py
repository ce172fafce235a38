"""Memory that a model takes on an engine. Run by `bench` in a fresh process, which prints the bytes and ends.

Resident memory of the host, from opening the model to its first answer; the engine's library alone is not counted.
"""

import importlib
import sys

from workloads.bench.models_under_test import LITERT, find, open_one
from workloads.measure import rss
from workloads.serve.engines.engine import Options
from workloads.serve.engines.warmup import sample

LIBRARIES = {
    "onnxruntime": "onnxruntime", "openvino": "openvino", "torch": "torch", "tensorrt": "tensorrt",
    LITERT: "ai_edge_litert.interpreter",
}  # fmt: skip


def measure(where: str, engine: str, threads: int, rows: int) -> int:
    """Memory growth in bytes from opening the model to its first answer, for a batch of `rows` samples."""
    source = find(where)
    importlib.import_module(LIBRARIES[engine])

    def work() -> object:
        opened = open_one(source, engine, Options(threads=threads, sizes=(rows,)))
        return opened, opened.run(sample(source.model.signature, rows))

    return rss.peak_growth(work)


if __name__ == "__main__":
    rss.say(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
