"""C++ model of a circuit (an HLS project of hls4ml), compiled and called with the face of an ONNX Runtime session.

What it computes is what the circuit will, bit for bit, as far as the vendor's types say: fixed-point numbers by
ap_types in C++. Of time, place and power it says nothing.
"""

import gzip
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.errors import BadInput
from workloads.libraries import extra
from workloads.onnx.litert import Input

if TYPE_CHECKING:
    import numpy.typing as npt

    Feeds = Mapping[str, npt.NDArray[Any]]

MAGIC = b"\x1f\x8b"  # of the archive that holds the project
PROJECT, ABOUT = "circuit", "slipway.json"
COMPILER = "g++"
# Enough of the types' inner loops is taken away, and a project compiles in seconds where -O3 takes minutes.
OPTIONS = ("-O1", "-std=c++14", "-w", "-Ifirmware/ap_types")
SOURCES = (f"firmware/{PROJECT}.cpp", f"{PROJECT}_bridge.cpp", "main.cpp")
# By files: the types print their remarks to the standard output.
MAIN = """#include <cstdio>
extern "C" void CALL(float *x, float *y);
static SIZES
int main(int, char **names) {
    FILE *given = fopen(names[1], "rb"), *found = fopen(names[2], "wb");
    while (fread(x, sizeof x, 1, given) == 1) {
        CALL(x, y);
        fwrite(y, sizeof y, 1, found);
    }
    return fclose(found);
}
"""
SECONDS = 900
TRIED = 2  # projects that stay compiled in this process


def is_hls(model: Any) -> bool:
    """Tell whether these are the bytes of a project's archive."""
    return isinstance(model, bytes) and model.startswith(MAGIC)


def require() -> None:
    """BadInput where a circuit can be neither written nor compiled."""
    if importlib.util.find_spec("hls4ml") is None:
        raise BadInput(f"target.runtime hls needs hls4ml, which this image does not hold: {extra('hls')}")
    if shutil.which(COMPILER) is None:
        raise BadInput(f"target.runtime hls compiles the circuit's C++ model by {COMPILER}, which this image has not")


def about(content: bytes) -> dict[str, Any]:
    """Description of the project by itself: shapes, bytes of its weights, its plan."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as tar:
        stream = tar.extractfile(f"{PROJECT}/{ABOUT}")
        if stream is None:
            raise BadInput(f"the archive has no {ABOUT}: it is no circuit of ours")
        found: dict[str, Any] = json.load(stream)
    return found


class Session:
    """The circuit's C++ model: samples go through it one by one, floats in and out."""

    def __init__(self, content: bytes) -> None:
        self._about = about(content)
        self._shape, self._gives = tuple(self._about["shape"]), tuple(self._about["outputs"])
        self._program = _compiled(hashlib.sha256(content).hexdigest(), content)

    def get_inputs(self) -> list[Input]:
        """The one input; its batch is free."""
        return [Input("x", (None, *self._shape))]

    def run(self, _names: None, feeds: "Feeds") -> "list[npt.NDArray[np.float32]]":
        """The output for all samples."""
        (values,) = feeds.values()
        streams = self._about["streams"]
        # Pixel by pixel, channels together, where it streams.
        rows = np.moveaxis(values, 1, -1) if streams else values
        found = self._program.run(np.ascontiguousarray(rows, np.float32))
        if streams and len(self._gives) > 1:
            first, *sides = self._gives
            return [np.ascontiguousarray(np.moveaxis(found.reshape(-1, *sides, first), -1, 1))]
        return [found.reshape(-1, *self._gives)]


class _Program:
    """A compiled project, which runs in a process of its own: two of them share names, and a fault is only its own."""

    def __init__(self, content: bytes) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="slipway-hls-")
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(content))) as tar:
            tar.extractall(self._folder.name, filter="data")
        self._project, shapes = Path(self._folder.name) / PROJECT, about(content)
        sizes = f"float x[{prod(shapes['shape'])}], y[{prod(shapes['outputs'])}];"
        (self._project / "main.cpp").write_text(MAIN.replace("SIZES", sizes).replace("CALL", f"{PROJECT}_float"))
        self._done([COMPILER, *OPTIONS, *SOURCES, "-o", "model"], "does not compile")

    def run(self, rows: "npt.NDArray[np.float32]") -> "npt.NDArray[np.float32]":
        """Its answers, flat."""
        given, found = self._project / "given.bin", self._project / "found.bin"
        rows.tofile(given)
        self._done(["./model", given.name, found.name], "does not run")
        return np.fromfile(found, np.float32)

    def _done(self, command: list[str], words: str) -> None:
        try:
            done = subprocess.run(
                command, cwd=self._project, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise BadInput(f"the circuit's C++ model {words} within {SECONDS} s: it is too large") from error
        if done.returncode:
            ended = f"it ended with {done.returncode}"
            reason = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[-200:] or ended)
            raise BadInput(f"the circuit's C++ model {words}: {reason.strip()[:300]}")


@lru_cache(maxsize=TRIED)
def _compiled(_digest: str, content: bytes) -> _Program:
    return _Program(content)
