"""Callables of all kinds, as a service's user may write them; in a worker process only."""

import ctypes
import os
import subprocess
import sys
import time

import numpy as np

SEEN: list[int] = []
KEPT: list[bytearray] = []
NOT_A_FUNCTION = 3


def texts_to_rows(inputs):
    """What the first text asks for is done to this request."""
    words = [text.decode() for text in inputs["text"]]
    what = words[0]
    if what in DEEDS:
        return DEEDS[what](inputs)
    return {"x": np.array([[float(word)] for word in words], dtype=np.float32)}, {"words": words}


def with_context(outputs, context):
    return {"said": [f"{word}:{value:g}" for word, value in zip(context["words"], outputs["y"][:, 0], strict=True)]}


def long_texts(inputs):
    return {"x": np.array([[sum(map(len, inputs["text"]))]], dtype=np.float32)}


def plus_one(inputs):
    return {"x": inputs["x"] + np.float32(1)}


def negative(outputs):
    return -outputs["y"]


def bad_after(outputs):
    raise ValueError("after the model it is nobody's fault but the service's")


async def coroutine(inputs):
    return inputs


def no_arguments():
    return {}


def raises(kind):
    def deed(_inputs):
        raise kind("as it was asked")

    return deed


def hang(_inputs):
    time.sleep(3600)


def end_with_a_child(_inputs):
    subprocess.Popen(["sleep", "3600"], pass_fds=[int(sys.argv[1])])
    os._exit(5)


def prints(_inputs):
    print("to the standard output", flush=True)
    os.write(1, b'{"error": null}\n' * 100)
    sys.stderr.write("to the standard error\n")
    return {"x": np.ones((1, 1), np.float32)}


def leaks(_inputs):
    while True:
        KEPT.append(bytearray(b"1" * (8 << 20)))


def garbage(_inputs):
    os.write(int(sys.argv[1]), b"\xff" * 4096)
    time.sleep(3600)


def not_utf8(_inputs):
    raise ValueError("\udc80 is half of a character, " + "and long " * 1000)


def recursion(inputs):
    return recursion(inputs)


DEEDS = {
    "ValueError": raises(ValueError),
    "no text": not_utf8,
    "KeyError": raises(KeyError),
    "SystemExit": raises(SystemExit),
    "KeyboardInterrupt": raises(KeyboardInterrupt),
    "recursion": recursion,
    "hang": hang,
    "child": end_with_a_child,
    "exit": lambda _: os._exit(0),
    "segfault": lambda _: ctypes.string_at(0),
    "huge": lambda _: {"x": np.zeros((1, 40 << 20), np.float32)},
    "kind": lambda _: {"x": np.zeros((1, 1), np.float64)},
    "shape": lambda _: {"x": np.zeros((1, 2, 3), np.float32)},
    "no rows": lambda _: {"x": np.zeros((0, 2), np.float32)},
    "rows": lambda _: {"x": np.zeros((1000, 1), np.float32)},
    "name": lambda _: {"z": np.zeros((1, 1), np.float32)},
    "nothing": lambda _: None,
    "objects": lambda _: {"x": np.array([[object()]])},
    "ragged": lambda _: {"x": [[1.0], [1.0, 2.0]]},
    "context": lambda _: ({"x": np.zeros((1, 1), np.float32)}, object()),
    "print": prints,
    "leak": leaks,
    "garbage": garbage,
}
