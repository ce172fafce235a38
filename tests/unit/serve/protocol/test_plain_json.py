"""The short way to read a request in JSON gives what the long way gives, or leaves the request to it."""

from __future__ import annotations

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some

from workloads.serve.datatypes import Datatype
from workloads.serve.errors import Invalid
from workloads.serve.http.message import Request
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.plain_json import LETTERS
from workloads.serve.signature import Signature, Tensor

NUMBERS = some.lists(
    some.one_of(some.integers(-(2**65), 2**65), some.floats(), some.booleans(), some.none()), max_size=4
)
# Separated by blanks.
SPELLED = """[1,2] [1.5,-0.0] [1,2 [1,,2] [1,2,] [01,2] [1e999,2] [-1e-999,2] [NaN,2] [true,2] [false,2] [null,2]
[[1,2]] [[1],[2]] [] [1] [1,2,3] {} [{},2] 1 null [1e5,2E+3] [3.4028236e38,1] [1\\u0031,2] [Infinity,1] ["1",2]"""
TEXTS = some.sampled_from([*SPELLED.split(), "[ 1\t,\r\n2 ]", f"[1{'0' * 400},2]"])
AROUND = some.sampled_from(
    [
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"%s","data":%s}]}',
        '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "%s", "data" : %s}], "id": "7"}',
        '{"id":"\\"data\\":[9,9]","inputs":[{"datatype":"%s","data":%s,"name":"x","shape":[1,2]}]}',
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"%s","data":%s,"data":[3,4]}]}',
        '{"parameters":{"data":[1]},"inputs":[{"name":"x","shape":[1,2],"datatype":"%s","data":%s}]}',
        '{"inputs":[{"name":"x","shape":[2,1],"datatype":"%s","data":%s}],"outputs":[{"name":"y"}],"parameters":null}',
        '{"inputs":[{"name":"z","shape":[1,2],"datatype":"%s","data":%s}]}',
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"%s","data":%s}]} x',
        '{"inputs":[{"name":"x","shape":[1,2],"datatype":"%s","data":"%s"}]}',
    ]
)


def codec_of(datatype: Datatype) -> Codec:
    axes = ("batch", "n")
    return Codec(Signature((Tensor("x", datatype, axes),), (Tensor("y", Datatype.FP32, axes),)), "m", "1")


def outcome(codec: Codec, text: bytes, short: bool) -> tuple[object, ...]:
    """What comes of it, by the short way where it can be gone, or by the long way alone."""
    try:
        asked = (
            codec.decode(Request(b"POST", b"/", {}, text)) if short else codec._read(codec._plan(text), memoryview(b""))
        )
    except Invalid as error:
        return (str(error),)
    array = asked.inputs[0]
    return array.dtype, array.shape, array.tobytes(), asked.rows, asked.group, asked.size, asked.outputs, asked.id


@given(
    some.sampled_from([*LETTERS, Datatype.BOOL, Datatype.BYTES, Datatype.FP16]), AROUND, TEXTS | NUMBERS.map(json.dumps)
)
def test_the_short_way_gives_what_the_long_way_gives(datatype: Datatype, around: str, data: str) -> None:
    text, codec = (around % (datatype.name, data)).encode(), codec_of(datatype)
    expected = outcome(codec, text, short=False)
    assert outcome(codec, text, short=True) == expected
    assert outcome(codec, text, short=True) == expected  # what has been kept of the first time


@pytest.mark.parametrize("dump", [orjson.dumps, lambda document: json.dumps(document).encode()])
def test_a_usual_request_goes_the_short_way(dump) -> None:
    row = np.random.default_rng(0).standard_normal(256, dtype=np.float32)
    tensor = {"name": "x", "shape": [1, 256], "datatype": "FP32", "data": row.astype(float).tolist()}
    codec = codec_of(Datatype.FP32)
    for _ in range(2):
        asked = codec.plain.read(dump({"inputs": [tensor]}))
        assert asked is not None
        np.testing.assert_array_equal(asked.inputs[0], row[None])


def test_what_clients_vary_is_not_kept_for_ever() -> None:
    codec = codec_of(Datatype.FP32)
    for number in range(1000):
        text = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1]}],"parameters":{"p%d":1}}' % number
        assert codec.plain.read(text) is not None
    assert len(codec.plain._kept) <= 256
