"""`PYTHON nncf_peer.py MODEL FEEDS.npz OUTPUT`: NNCF's post-training quantization with its defaults.

Run by a Python that has nncf and onnx, and nothing of this repository.
"""

import sys

import nncf  # type: ignore[import-not-found,unused-ignore]
import numpy as np
import onnx


def main(model: str, feeds: str, output: str) -> None:
    """`feeds`: arrays named `<call>:<input>`."""
    with np.load(feeds) as arrays:
        calls: dict[int, dict[str, np.ndarray]] = {}
        for key in arrays.files:
            call, _, name = key.partition(":")
            calls.setdefault(int(call), {})[name] = arrays[key]
    data = nncf.Dataset([calls[call] for call in sorted(calls)])
    onnx.save(nncf.quantize(onnx.load(model), data), output)


if __name__ == "__main__":
    main(*sys.argv[1:])
