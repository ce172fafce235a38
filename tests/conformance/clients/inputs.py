"""What every client is given: a manifest of requests, one a line, and what their answers must be.

A line is NAME, METHOD, PATH, file of the body, `whole` or `chunked`, then headers, each after a tab. A client sends
them in that order, as its library does by itself, writes an answer's body to ANSWERS/NAME and prints NAME, tab, status.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

JSON = "Content-Type: application/json"
SMALL = np.arange(8, dtype=np.float32).reshape(2, 4)
# More than any first window, and more than is parsed on the loop.
LARGE = np.arange(240_000, dtype=np.float32).reshape(2, -1)


def document(array: np.ndarray) -> bytes:
    given = {"name": "x", "shape": list(array.shape), "datatype": "FP32", "data": array.reshape(-1)}
    return orjson.dumps({"inputs": [given]}, option=orjson.OPT_SERIALIZE_NUMPY)


def binary(array: np.ndarray) -> tuple[bytes, int]:
    """The body, and how long its JSON is."""
    told = {
        "name": "x",
        "shape": list(array.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": array.nbytes},
    }
    head = orjson.dumps({"inputs": [told], "parameters": {"binary_data_output": True}})
    return head + array.tobytes(), len(head)


def echoed(array: np.ndarray) -> Callable[[bytes], bool]:
    def check(body: bytes) -> bool:
        (output,) = orjson.loads(body)["outputs"]
        return output["shape"] == list(array.shape) and output["data"] == array.reshape(-1).tolist()

    return check


def _raw(body: bytes) -> bool:
    return body.endswith(SMALL.tobytes())


def _holds(key: str) -> Callable[[bytes], bool]:
    return lambda body: key in orjson.loads(body)


@dataclass(frozen=True)
class Input:
    """A request, the status of its answer, and whether a body is the right one."""

    name: str
    method: str
    path: str
    status: int
    right: Callable[[bytes], bool]
    body: bytes = b""
    headers: tuple[str, ...] = ()
    how: str = "whole"


@dataclass
class Inputs:
    """Of the model with one input `x` that it gives back."""

    model: str
    all: list[Input] = field(init=False)

    def __post_init__(self) -> None:
        infer, small = f"/v2/models/{self.model}/infer", document(SMALL)
        raw, length = binary(SMALL)
        octets = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {length}")
        post: list[Any] = [
            Input("small", "POST", infer, 200, echoed(SMALL), small, (JSON,)),
            Input("binary", "POST", infer, 200, _raw, raw, octets),
            Input("refused", "POST", infer, 400, _holds("error"), b'{"inputs": []}', (JSON,)),
            Input("large", "POST", infer, 200, echoed(LARGE), document(LARGE), (JSON,)),
            Input("chunked", "POST", infer, 200, echoed(SMALL), small, (JSON,), "chunked"),
            Input("gzip", "POST", infer, 200, echoed(SMALL), gzip.compress(small), (JSON, "Content-Encoding: gzip")),
            Input("unknown", "POST", "/v2/models/other/infer", 404, _holds("error"), small, (JSON,)),
        ]
        get = [
            Input("metadata", "GET", f"/v2/models/{self.model}", 200, _holds("versions")),
            Input("head", "HEAD", "/v2/health/ready", 200, lambda body: not body),
        ]
        again = Input("again", "POST", infer, 200, echoed(SMALL), small, (JSON,))
        self.all = [*post, *get, again]

    def write(self, folder: Path) -> Path:
        """The manifest, and the bodies beside it."""
        lines = []
        for one in self.all:
            path = folder / f"{one.name}.body"
            path.write_bytes(one.body)
            lines.append(
                "\t".join([one.name, one.method, one.path, str(path) if one.body else "", one.how, *one.headers])
            )
        manifest = folder / "manifest.tsv"
        manifest.write_text("\n".join(lines) + "\n")
        return manifest

    def judge(self, said: str, answers: Path) -> dict[str, str]:
        """By name: nothing where the answer is right, else what is wrong with it."""
        statuses = dict(line.split("\t") for line in said.splitlines() if line.count("\t") == 1)
        return {one.name: _fault(one, statuses.get(one.name), answers / one.name) for one in self.all}


def _fault(one: Input, status: str | None, answer: Path) -> str:
    if status is None:
        return "no answer"
    if int(status) != one.status:
        return f"status {status} for {one.status}"
    try:
        return "" if one.right(answer.read_bytes()) else "another answer"
    except (OSError, ValueError, KeyError) as error:
        return f"no such answer: {error}"
