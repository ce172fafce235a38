"""Each model of the zoo is served over HTTP as its runtime computes it, or refused in words."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from slipway.api.serving.engine import EngineName
from tests.unit.serve.models.over_http import by_runtime, infer, same, serving
from tests.unit.serve.models.zoo import ZOO, Animal
from workloads.errors import BadInput, Corrupt
from workloads.serve.loading import load_and_warm_up
from workloads.serve.model import FROM_ONNX
from workloads.serve.settings import Settings

RUNS = {name: one for name, one in ZOO.items() if not one.refused}


def saved(one: Animal, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(one.make(), path, save_as_external_data=one.external, location="weights.bin" if one.external else None)
    return path


def test_the_zoo_is_large_enough() -> None:
    assert len(ZOO) >= 40
    assert len(RUNS) >= 40


@pytest.mark.parametrize("name", RUNS)
async def test_what_the_runtime_runs_is_served(name: str, tmp_path: Path) -> None:
    one = ZOO[name]
    path = saved(one, tmp_path)
    expected = by_runtime(path, dict(one.feeds))
    async with serving(path) as (base, client):
        async with client.get(base) as reply:
            about = await reply.json()
        if one.batched is not None:
            assert (about["properties"]["batching"] == "on") == one.batched, about["properties"]
        answers = await asyncio.gather(*(infer(base, client, dict(one.feeds)) for _ in range(3)))
        for status, found, words in answers:
            assert status == 200, words
            assert list(found) == list(expected)
            if one.same:
                assert all(same(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", [name for name, one in RUNS.items() if one.batched and one.same])
async def test_everybody_gets_their_own_rows(name: str, tmp_path: Path) -> None:
    """Requests of one row each that wait together."""
    one = ZOO[name]
    path = saved(one, tmp_path)
    feeds = {key: np.asarray(array) for key, array in one.feeds.items()}
    rows = [{key: array[at : at + 1] for key, array in feeds.items()} for at in range(len(next(iter(feeds.values()))))]
    expected = [by_runtime(path, row) for row in rows]
    async with serving(path) as (base, client):
        answers = await asyncio.gather(*(infer(base, client, row) for row in rows * 4))
    for (status, found, words), alone in zip(answers, expected * 4, strict=True):
        assert status == 200, words
        assert all(same(found[key], alone[key]) for key in alone)


@pytest.mark.parametrize("name", [name for name, one in ZOO.items() if one.refused])
def test_what_is_refused_is_refused_in_words(name: str, tmp_path: Path) -> None:
    one = ZOO[name]
    path = saved(one, tmp_path)
    with pytest.raises((BadInput, Corrupt), match=re.escape(one.refused)):
        load_and_warm_up(Settings(str(path), engine=EngineName.ONNXRUNTIME, threads=1))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options)
    except Exception:
        return  # the runtime refuses it, too, by whatever exception: no reason of ours is asked for
    assert one.reason, "the runtime opens it: say why it is not served"


def test_every_type_of_the_runtime_that_the_protocol_has_is_in_the_zoo() -> None:
    seen = {np.asarray(array).dtype for one in RUNS.values() for array in one.feeds.values()}
    assert {kind.dtype for kind in FROM_ONNX.values()} <= seen
