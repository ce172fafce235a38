"""Long arrays and documents, read in pieces: the same tensors and refusals as in one piece, in bounded memory."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.runtime.effort import examples
from tests.unit.serve.protocol.test_codec import request
from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Invalid, TooLarge
from workloads.serve.protocol import document, numbers
from workloads.serve.protocol.document import LONG, MOST_VALUES, SMALL, values_in
from workloads.serve.protocol.numbers import Text, from_text, shape_of
from workloads.serve.protocol.tensors import from_json
from workloads.serve.rest.inference import Codec
from workloads.serve.signature import Signature, Tensor

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4)
CHANGES = st.sampled_from([b"", b"[", b"]", b",", b"],[", b"[]", b" ", b"1", b".", b"-", b"e", b"null"])
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n\t", ":")])
TYPES = st.sampled_from([Datatype.FP32, Datatype.FP64, Datatype.INT64, Datatype.UINT8, Datatype.BOOL])


def values_of(datatype: Datatype, shape, draw) -> np.ndarray:
    if datatype is Datatype.BOOL:
        elements = st.booleans()
    elif datatype.floating:
        elements = st.floats(-1e30, 1e30) | st.integers(-1000, 1000)
    else:
        elements = st.integers(0, 255)
    count = int(np.prod(shape))
    flat = draw.draw(st.lists(elements, min_size=count, max_size=count))
    return np.array(flat, dtype=object).reshape(shape)


def whole(text: bytes, datatype: Datatype, shape) -> np.ndarray | None:
    try:
        return from_json("x", orjson.loads(text), datatype, shape)
    except (Invalid, orjson.JSONDecodeError):
        return None


def pieces(text: bytes, datatype: Datatype, shape) -> np.ndarray | None:
    try:
        return from_text("x", Text(memoryview(text)), datatype, shape)
    except Invalid:
        return None


def same(text: bytes, datatype: Datatype, shape) -> bool:
    one, other = whole(text, datatype, shape), pieces(text, datatype, shape)
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.fixture
def tiny_pieces(monkeypatch):
    monkeypatch.setattr(numbers, "PIECE", 80)


@pytest.mark.usefixtures("tiny_pieces")
@settings(max_examples=examples(100), deadline=None)
@given(SHAPES, TYPES, SEPARATORS, st.booleans(), st.data())
def test_a_piece_at_a_time_is_the_same_tensor(shape, datatype, separators, flat, data) -> None:
    values = values_of(datatype, shape, data)
    text = json.dumps((values.reshape(-1) if flat else values).tolist(), separators=separators).encode()
    assert pieces(text, datatype, shape) is not None
    assert same(text, datatype, shape)


@pytest.mark.usefixtures("tiny_pieces")
@settings(max_examples=examples(200), deadline=None)
@given(SHAPES, TYPES, SEPARATORS, st.booleans(), st.data())
def test_whatever_is_changed_both_ways_refuse_or_take_the_same(shape, datatype, separators, flat, data) -> None:
    values = values_of(datatype, shape, data)
    text = bytearray(json.dumps((values.reshape(-1) if flat else values).tolist(), separators=separators).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(text) - 1))
        with_ = data.draw(
            st.sampled_from([b"", b"[", b"]", b",", b"],[", b"[]", b" ", b"1", b".", b"-", b"e", b"null"])
        )
        text[place : place + data.draw(st.integers(0, 2))] = with_
    if not text.startswith(b"[") or not text.endswith(b"]"):
        return  # Cut gives nothing else
    assert same(bytes(text), datatype, shape), bytes(text)


@given(SHAPES, SEPARATORS)
def test_the_shape_of_nested_lists(shape, separators) -> None:
    text = json.dumps(np.zeros(shape).tolist(), separators=separators).encode()
    assert shape_of(Text(memoryview(text))) == shape


def test_what_is_no_array_of_numbers_is_refused() -> None:
    with pytest.raises(Invalid, match="too deeply"):
        shape_of(Text(memoryview(b"[" * 1000 + b"]" * 1000)))
    with pytest.raises(Invalid, match="without a comma"):
        from_text("x", Text(memoryview(b"[" + b"1" * 100_000 + b"]")), Datatype.FP32, [1])


WORDS = st.text(st.sampled_from('a"\\,:[]{} é'), max_size=6)
LEAVES = st.none() | st.booleans() | st.integers(-9, 9) | WORDS
DOCUMENTS = st.recursive(LEAVES, lambda one: st.lists(one, max_size=4) | st.dictionaries(WORDS, one, max_size=4))


def made_of(value) -> int:
    if isinstance(value, dict):
        return 1 + sum(1 + made_of(one) for one in value.values())
    return 1 + sum(map(made_of, value)) if isinstance(value, list) else 1


@settings(max_examples=examples(100), deadline=None)
@given(DOCUMENTS, st.integers(1, 9))
def test_values_are_counted_without_making_them(value, piece: int) -> None:
    text, before = orjson.dumps(value), document.PIECE
    document.PIECE = piece
    try:
        counted = values_in(text)
    finally:
        document.PIECE = before
    assert made_of(value) <= counted <= 2 * made_of(value)


PAIR = Signature(
    (Tensor("x", Datatype.FP32, ("batch", 3, "n")), Tensor("words", Datatype.BYTES, ("batch",))),
    (Tensor("y", Datatype.FP32, ("batch",)),),
)
CODEC = Codec(PAIR, "m", "1", most_rows=4)


def asked(data: bytes, words: bytes = b'["a"]', shape=(1, 3, 5000), more: bytes = b"") -> bytes:
    x = b'{"name":"x","datatype":"FP32","shape":%b,"data":%b%b}' % (orjson.dumps(list(shape)), data, more)
    return b'{"inputs":[%b,{"name":"words","datatype":"BYTES","shape":[1],"data":%b}]}' % (x, words)


LIST = orjson.dumps(np.arange(15000).reshape(1, 3, 5000).tolist())


def test_a_long_array_is_read_as_a_short_one_is() -> None:
    assert len(LIST) > SMALL > LONG
    for body in (asked(LIST), orjson.dumps(orjson.loads(asked(LIST)), option=orjson.OPT_INDENT_2)):
        taken = CODEC.decode(request(body))
        assert taken.inputs[0].shape == (1, 3, 5000)
        assert taken.inputs[0].reshape(-1).tolist() == list(range(15000))
        assert taken.inputs[1].tolist() == [b"a"]


def test_what_looks_like_data_inside_a_text_is_text() -> None:
    tricky = '","data":[' + "1," * 60_000 + '2] \\" \\'
    taken = CODEC.decode(request(asked(b"[1,2,3]", orjson.dumps([tricky]), (1, 3, 1))))
    assert taken.inputs[1].tolist() == [tricky.encode()]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (asked(LIST, shape=(1, 3, 5001)), "not nested as its shape|shorter"),
        (asked(LIST, shape=(1, 3, 1_000_000_000)), "shorter than its shape"),
        (
            asked(LIST, b'["a","b","c","d","e"]', (5, 3, 1000)).replace(b"[1]", b"[5]"),
            "5 rows: this model takes 1 to 4",
        ),
        (asked(LIST.replace(b",17,", b",true,")), "holds bool"),
        (asked(LIST.replace(b",17,", b",1 7,")), "not JSON"),
        (asked(LIST.replace(b",17,", b",1e999,")), "not JSON|out of range"),
        (asked(LIST.replace(b",17,", b",,")), "not JSON|not nested"),
        (asked(LIST, more=b',"data":' + LIST), "twice"),
        (asked(LIST, more=b',"parameters":{"data":' + LIST + b"}"), "list where none belongs|parameters"),
        (asked(b"[1,2,3]", LIST, shape=(1, 3, 1)), "holds int"),
        (asked(LIST[:-3]), "not JSON|nested"),
        (asked(LIST)[:-2], "not JSON"),
    ],
    ids=range(12),
)
def test_a_long_array_is_refused_in_words(body: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        CODEC.decode(request(body))


BOMBS = {
    "lists": b'{"inputs":[{"name":"x","data":[%b[]]}]}' % (b"[]," * (2 * MOST_VALUES)),
    "objects": b"[%b{}]" % (b"{}," * (2 * MOST_VALUES)),
    "texts": b'["%b"]' % (b'a","' * (2 * MOST_VALUES)),
    "keys": b"{%b}" % b",".join(b'"%d":1' % number for number in range(MOST_VALUES)),
    "depth": b"[" * (2 * MOST_VALUES),
    "numbers elsewhere": b'{"id":[%b1]}' % (b"1," * (2 * MOST_VALUES)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_document_of_nothing_but_objects_is_refused_before_it_becomes_objects(name: str, monkeypatch) -> None:
    made: list[int] = []

    def loads(text):
        made.append(len(text))
        return json.loads(bytes(text))

    monkeypatch.setattr(orjson, "loads", loads)
    with pytest.raises((Invalid, TooLarge)):
        CODEC.decode(request(BOMBS[name]))
    assert sum(made) < SMALL
