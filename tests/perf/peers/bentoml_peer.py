"""BentoML with adaptive batching: `bentoml_peer.py ONNX PORT`, POST /predict {"x": [[...]]}."""

import os
import sys
from pathlib import Path

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1, traffic={"timeout": 60, "max_concurrency": 100000})
class Mlp:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["MLP"], options, providers=["CPUExecutionProvider"])

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60000)
    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x.astype(np.float32)})[0]


if __name__ == "__main__":
    environment = {**os.environ, "MLP": str(Path(sys.argv[1]).resolve()), "BENTOML_DO_NOT_TRACK": "True"}
    folder = str(Path(__file__).resolve().parent)
    command = [sys.executable, "-m", "bentoml", "serve", "bentoml_peer:Mlp", "--working-dir", folder]
    os.execve(sys.executable, [*command, "--port", sys.argv[2], "--host", "127.0.0.1"], environment)
