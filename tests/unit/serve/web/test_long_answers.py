"""A long answer of /predict is written in pieces, on a thread; nobody waits for all of it, and it stays the same."""

from __future__ import annotations

import asyncio
import threading

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.unit.serve.serving import serving
from workloads.serve.batcher import Limits
from workloads.serve.edge import Edge
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.http import HttpLimits, HttpServer
from workloads.serve.rest import pieces
from workloads.serve.settings import EdgeChoice, TransformChoice

OWN = "tests.unit.serve.transform.own_code"


def joined(document) -> bytes:
    return b"".join(pieces.written(document))


@given(
    arrays.arrays(
        st.sampled_from(["f4", "f8", "f2", "i1", "i8", "u4", "?"]), arrays.array_shapes(max_dims=4, max_side=6)
    ),
    st.integers(1, 40),
)
def test_pieces_of_any_array_are_the_whole(array, piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE", piece)
        patch.setattr(pieces, "LONG", 0)
        rows = pieces.plain(array)
        document = {"predictions": list(rows), "named": [{"y": row} for row in rows], "all": rows, "none": [], "n": 1.5}
        whole = array.tolist()
        wanted = {"predictions": whole, "named": [{"y": row} for row in whole], "all": whole, "none": [], "n": 1.5}
        assert joined(document) == orjson.dumps(wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.uint8, bool])
def test_numbers_of_a_long_answer_have_the_digits_of_a_short_one(dtype) -> None:
    array = (np.arange(3 * 20_000) / 7).astype(dtype).reshape(3, -1)
    assert joined(list(pieces.plain(array))) == orjson.dumps(array.tolist())


def test_texts_are_written_in_pieces_as_well() -> None:
    array = np.array([b"a", "\u00fc".encode(), b"\xff"] * 20_000, dtype=object)
    found = list(pieces.written(pieces.plain(array)))
    assert len(found) > 3
    assert orjson.loads(b"".join(found))[:3] == ["a", "\u00fc", "\ufffd"]


async def test_no_part_of_a_long_answer_is_long_and_none_is_written_on_the_loop(monkeypatch) -> None:
    longest, threads, dumps = 0, set(), orjson.dumps

    def counting(value, *rest, **more) -> bytes:
        nonlocal longest
        if isinstance(value, np.ndarray):
            longest = max(longest, value.size)
            threads.add(threading.get_ident())
        return dumps(value, *rest, **more)

    monkeypatch.setattr(pieces.orjson, "dumps", counting)
    row = np.arange(40_000, dtype=np.float32) / 7
    async with serving(limits=Limits(max_batch_size=4)) as server:
        body = orjson.dumps({"rows": [row, row]}, option=orjson.OPT_SERIALIZE_NUMPY)
        kind = {"Content-Type": "application/json"}
        async with asyncio.timeout(60), server.client.post(f"{server.base}/predict", data=body, headers=kind) as reply:
            said = orjson.loads(await reply.read())
    assert said["predictions"] == [(2 * row).tolist()] * 2
    assert said["timing"]["batchRows"] == 2
    assert 0 < longest <= pieces.PIECE
    assert threading.get_ident() not in threads


async def test_the_log_tells_what_own_code_took_over_both_ways() -> None:
    """/predict told its times in its body alone, and the log of an inference left own code's out."""
    lines: list[bytes] = []
    choice = TransformChoice(f"{OWN}:plus_one", f"{OWN}:negative", workers=1)
    async with serving(limits=Limits(default_timeout=60), transform=choice) as server:
        edge = Edge(server.app, EdgeChoice(), AccessLog(100, lines.append))
        http = HttpServer(edge, HttpLimits())
        base = f"http://127.0.0.1:{await http.start('127.0.0.1', 0)}"
        row = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}
        for path, document in (("/predict", {"rows": [[1.0]]}), ("/v2/models/m/infer", {"inputs": [row]})):
            async with server.client.post(base + path, json=document) as reply:
                assert reply.status == 200
        await http.finish(1)
    names = ("queueSeconds", "computeSeconds", "preprocessSeconds", "postprocessSeconds")
    for line in map(orjson.loads, lines):
        assert all(line[name] >= 0 for name in names), line
        assert line["preprocessSeconds"] > 0 < line["postprocessSeconds"]
    assert len(lines) == 2
