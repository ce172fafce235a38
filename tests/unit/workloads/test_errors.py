"""Errors that come again with the same input are told apart from those that another attempt may not meet."""

from __future__ import annotations

import numpy as np
import pytest

from workloads.errors import comes_again
from workloads.quantize import command


def _raised(text: str) -> BaseException:
    try:
        eval(text)
    except BaseException as error:
        return error
    raise AssertionError(text)


@pytest.mark.parametrize(
    "text",
    ["[][1]", "{}['x']", "int('x')", "1 / 0", "None.x", "np.zeros((2, 3)) @ np.zeros((2, 3))", "'\\ud800'.encode()"],
)
def test_what_the_input_caused_is_final(text: str) -> None:
    np.zeros(1)
    error = _raised(text)
    assert comes_again(error)
    assert command._explain(error)[0] == 2


def test_what_a_library_says_of_a_graph_is_final() -> None:
    import onnx
    import onnxruntime
    from google.protobuf.message import EncodeError

    assert comes_again(EncodeError("Failed to serialize proto"))
    with pytest.raises(Exception, match="model") as raised:
        onnxruntime.InferenceSession(b"no model", providers=["CPUExecutionProvider"])
    assert comes_again(raised.value)
    assert comes_again(onnx.checker.ValidationError("Field 'shape'"))


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        MemoryError(),
        ConnectionError("reset"),
        TimeoutError(),
        ImportError("libcuda.so"),
        RuntimeError("CUDA error: device-side assert"),
        ValueError("cannot allocate 3 GiB"),
        Exception("unknown"),
    ],
    ids=repr,
)
def test_what_the_machine_caused_may_be_tried_again(error: BaseException) -> None:
    assert not comes_again(error)
