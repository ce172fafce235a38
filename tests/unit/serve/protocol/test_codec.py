"""The codec against anything: what it takes is what was sent, bit for bit; all else is a 4xx, never an exception."""

from __future__ import annotations

import copy

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.unit.runtime.effort import examples
from workloads.serve.datatypes import Datatype, finite
from workloads.serve.errors import RequestError
from workloads.serve.grpc.grpc_to_rest import as_rest
from workloads.serve.http import Request
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.protocol.tensors import from_binary, from_json, to_binary, to_json
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature, Tensor

TWO = Signature(
    (Tensor("a", Datatype.FP32, ("batch", 2)), Tensor("b", Datatype.INT64, ("batch", "n"))),
    (Tensor("y", Datatype.FP32, ("batch", 2)), Tensor("half", Datatype.FP16, ("batch",))),
)
CODEC = Codec(TWO, "m", "1", max_body_size=1 << 16)
GOOD = {
    "id": "i",
    "parameters": {"timeout": 1000, "binary_data_output": True},
    "inputs": [
        {"name": "a", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
        {"name": "b", "datatype": "INT64", "shape": [1, 3], "data": [1, 2, 3]},
    ],
    "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
}
BINARY = np.array([1, 2], "<f4").tobytes()

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["a", "b", "y", "FP32", "INT64", "BYTES", "half", -1, 0, 1, 2, 3, 2**62])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def request(body: bytes, header: bytes | None = None) -> Request:
    return Request(b"POST", b"/", {} if header is None else {b"inference-header-content-length": header}, body)


def attempt(asked: Request) -> bool:
    """Taken or refused; anything else is raised."""
    try:
        taken = CODEC.decode(asked)
    except RequestError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert 400 <= refusal.status < 500
        assert orjson.dumps(str(refusal)) != b'""'
        return False
    a, b = taken.inputs
    assert (a.dtype, a.shape[1:], b.dtype) == (np.float32, (2,), np.int64)
    assert a.shape[0] == b.shape[0] == taken.rows >= 1
    assert finite(a)
    assert taken.timeout >= 0
    return True


def places(node, path=()):
    """Paths to every value in a JSON document."""
    yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def test_the_example_is_taken() -> None:
    head = orjson.dumps(GOOD)
    assert attempt(request(head + BINARY, str(len(head)).encode()))


@settings(max_examples=examples(80), deadline=None)
@given(JSON)
def test_any_json_is_taken_or_refused(document) -> None:
    attempt(request(orjson.dumps(document)))


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_a_request_with_anything_anywhere_is_taken_or_refused(data) -> None:
    document = copy.deepcopy(GOOD)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in places(document) if path]))
        node = document
        for key in path[:-1]:
            node = node[key]
        if data.draw(st.booleans()):
            node[path[-1]] = data.draw(JSON)
        else:
            del node[path[-1]]
    head = orjson.dumps(document)
    binary = data.draw(st.sampled_from([BINARY, b"", BINARY[:-1], BINARY + b"\0"]))
    for _ in range(2):  # the second time from the kept plan
        attempt(request(head + binary, str(len(head)).encode()))


@settings(max_examples=examples(80), deadline=None)
@given(st.binary(max_size=200), st.none() | st.binary(max_size=5) | st.integers(-5, 300).map(lambda n: str(n).encode()))
def test_any_bytes_are_taken_or_refused(body: bytes, header: bytes | None) -> None:
    attempt(request(body, header))


ARRAYS = st.sampled_from([one for one in Datatype if one is not Datatype.BYTES]).flatmap(
    lambda datatype: st.tuples(
        st.just(datatype), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4)
    ).flatmap(lambda pair: st.tuples(st.just(pair[0]), _arrays(*pair)))
)


def _arrays(datatype: Datatype, shape):
    if datatype is Datatype.BF16:
        return hnp.arrays(np.float32, shape, elements=st.floats(-(2.0**99), 2.0**99, width=32)).map(
            lambda a: a.astype(datatype.dtype)
        )
    if datatype.floating:
        finite_floats = st.floats(allow_nan=False, allow_infinity=False, width=datatype.itemsize * 8)
        return hnp.arrays(datatype.dtype, shape, elements=finite_floats)
    return hnp.arrays(datatype.dtype, shape)


@settings(max_examples=examples(80), deadline=None)
@given(ARRAYS)
def test_binary_goes_through_unchanged(pair) -> None:
    datatype, array = pair
    raw = bytes(to_binary(array, datatype))
    again = from_binary("x", memoryview(raw), datatype, array.shape, False)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    assert again.tobytes() == array.tobytes() == raw


@settings(max_examples=examples(80), deadline=None)
@given(ARRAYS.filter(lambda pair: pair[0].in_json), st.booleans())
def test_json_goes_through_unchanged(pair, nested: bool) -> None:
    datatype, array = pair
    if nested:
        text = orjson.dumps(array.tolist())
    else:
        text = orjson.dumps(to_json(array, datatype), option=orjson.OPT_SERIALIZE_NUMPY)
    again = from_json("x", orjson.loads(text), datatype, array.shape)
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(again, array)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.binary(max_size=10), max_size=6))
def test_bytes_go_through_unchanged(words) -> None:
    array = np.empty(len(words), dtype=object)
    array[:] = words
    raw = bytes(to_binary(array, Datatype.BYTES))
    assert from_binary("x", memoryview(raw), Datatype.BYTES, [len(words)], False).tolist() == words


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("size", [0, 1, 7, 100_000])
@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
def test_finite(dtype, size: int, bad) -> None:
    array = np.full(size, np.finfo(dtype).max, dtype)  # whose sum is infinite
    if bad is not None and size:
        array[size // 2] = bad
    assert finite(array) == (bad is None or size == 0)
    assert finite(np.concatenate([array, array])[::2]) == finite(array) or size < 2


def test_a_transposed_output_is_written_in_row_major_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert np.frombuffer(bytes(to_binary(array, Datatype.FP32)), np.float32).tolist() == [0, 3, 1, 4, 2, 5]
    assert to_json(array, Datatype.FP32).tolist() == [0, 3, 1, 4, 2, 5]


def test_a_request_that_is_copied_as_rest_is_the_same_request():
    signature = Signature(
        (Tensor("a", Datatype.BF16, ("batch", 2)), Tensor("words", Datatype.BYTES, ("batch",))),
        (Tensor("y", Datatype.FP32, ("batch",)), Tensor("z", Datatype.FP32, ("batch",))),
    )
    codec = Codec(signature, "m", "1")
    words = np.array([b"one", b""], dtype=object)
    numbers = np.zeros((2, 2), Datatype.BF16.dtype)
    asked = InferenceRequest((numbers, words), 2, None, 0, ((1, False),), "id", 1, 5.0)
    again = codec.decode(as_rest("m", signature, asked))
    assert [array.tolist() for array in again.inputs] == [numbers.tolist(), words.tolist()]
    assert (again.rows, again.outputs, again.timeout) == (2, ((1, True),), 0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": None, "parameters": {"binary_data_output": True}, "outputs": None},
        {"id": None, "parameters": None, "outputs": [{"name": "y"}]},
        {"parameters": {"timeout": None, "priority": None, "binary_data_output": True, "sequence_id": None}},
        {"outputs": [{"name": "y", "parameters": None}]},
        {"outputs": [{"name": "y", "parameters": {"binary_data": None, "classification": None}}]},
    ],
    ids=["outputs", "request", "parameters", "output", "output's parameters"],
)
def test_null_for_something_optional_is_as_if_it_were_left_out(change) -> None:
    """pydantic, Jackson and System.Text.Json write what is not set as null; KServe's client does with binary data."""
    inputs = copy.deepcopy(GOOD["inputs"])
    inputs[0] |= {"data": None}
    inputs[1] |= {"parameters": None}
    head = orjson.dumps({"inputs": inputs, **change})
    length = {b"inference-header-content-length": str(len(head)).encode()}
    asked = CODEC.decode(Request(b"POST", b"/", length, head + BINARY))
    assert [array.tolist() for array in asked.inputs] == [[[1, 2]], [[1, 2, 3]]]
    assert (asked.id, asked.priority, asked.timeout) == (None, 0, 0.0)


@pytest.mark.parametrize("change", [{"outputs": False}, {"outputs": 0}, {"parameters": []}, {"parameters": ""}])
def test_nothing_of_another_type_is_no_null(change) -> None:
    head = orjson.dumps({**GOOD, **change})
    length = {b"inference-header-content-length": str(len(head)).encode()}
    with pytest.raises(RequestError):
        CODEC.decode(Request(b"POST", b"/", length, head + BINARY))


def test_an_input_without_any_data_is_refused_whatever_it_writes_for_it() -> None:
    head = orjson.dumps({**GOOD, "inputs": [{**one, "data": None, "parameters": None} for one in GOOD["inputs"]]})
    with pytest.raises(RequestError, match="must have either data or"):
        CODEC.decode(Request(b"POST", b"/", {}, head))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"instances": [[1, 2]]}, "V1 protocol"),
        ({"specversion": "1.0", "id": "1", "source": "a", "type": "t", "data": GOOD}, "CloudEvent"),
        ({"data": {"ndarray": [[1, 2]]}}, "inputs must be a list"),
    ],
)
def test_another_protocols_document_is_named(document, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        CODEC.decode(Request(b"POST", b"/", {}, orjson.dumps(document)))
