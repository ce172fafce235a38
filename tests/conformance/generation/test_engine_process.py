"""The engine behind the server: clients that leave, a full queue, a process that is killed, a drain, proof at load."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.conformance.generation.conftest import Start
from tests.conformance.generation.server import PROMPT, GenerationServer
from tests.models.language import openvino, vllm
from tests.unit.runtime.waiting import until
from workloads import storage, strict_json

LONG: dict[str, Any] = {"model": "small", "prompt": PROMPT, "max_tokens": 480, "extra_body": {"ignore_eos": True}}


def idle(server: GenerationServer) -> bool:
    return server.figure("vllm:num_requests_running") == 0 == server.figure("vllm:num_requests_waiting")


async def test_clients_that_leave_leave_nothing_behind(server: GenerationServer) -> None:
    """The cache holds less than eleven whole answers: what a cancelled one kept would stop those after it."""
    before = server.complete(max_tokens=30).json["choices"][0]["text"]
    for number in range(60):
        await asyncio.to_thread(server.leave_early, {"max_tokens": 400, "ignore_eos": True, "seed": number})
    await until(lambda: idle(server))
    # An idle server that shows what the last one used would never be scaled down.
    await until(lambda: server.figure("vllm:kv_cache_usage_perc") == 0)
    assert server.complete(max_tokens=30).json["choices"][0]["text"] == before
    assert server.figure("slipway_engine_restarts") == 0
    assert server.figure("slipway_tokens_in_flight") == 0
    assert server.figure("slipway_request_bytes") == 0


async def test_a_full_queue_says_when_to_come_back(server: GenerationServer) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> Any:
        return await client.completions.create(**{**LONG, "prompt": f"{number} " + "word " * 100, "max_tokens": 200})

    async with server.asynchronous as client:
        ends = await asyncio.gather(*(one(client, number) for number in range(140)), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, openai.RateLimitError)]
    answered = [end for end in ends if not isinstance(end, BaseException)]
    assert len(refused) + len(answered) == 140, [end for end in ends if end not in refused and end not in answered]
    assert refused
    assert answered
    assert 1 <= int(refused[0].response.headers["retry-after"]) <= 60
    assert idle(server)


async def test_an_engine_that_is_killed_is_replaced_and_the_server_lives(server: GenerationServer) -> None:
    async def stream(client: openai.AsyncOpenAI, begun: asyncio.Event) -> str:
        try:
            async for _ in await client.completions.create(stream=True, **LONG):
                begun.set()
        except openai.APIError as error:
            return error.message
        return "whole"

    async with server.asynchronous as client:
        begun = [asyncio.Event() for _ in range(16)]
        streams = [asyncio.create_task(stream(client, one)) for one in begun]
        await asyncio.gather(*(one.wait() for one in begun[:4]))
        was = server.engine
        os.kill(was, signal.SIGKILL)
        said = await asyncio.gather(*streams)
        assert any("being replaced" in one for one in said)
        assert set(said) <= {"whole", *(one for one in said if "being replaced" in one)}
        later = await client.completions.create(model="small", prompt=PROMPT, max_tokens=4)  # waits for the new one
    assert later.choices[0].finish_reason == "length"
    assert server.engine not in {0, was}
    assert server.figure("slipway_engine_restarts") == 1
    assert server.process.poll() is None


def copied(engine: str, target: Path, change: Any) -> Path:
    """The artifact with its probes changed, and digests that fit."""
    shutil.copytree(vllm.folder() if engine == "vllm" else openvino.folder(), target)
    path = target / "probes.json"
    probes = json.loads(path.read_text())
    change(probes["probes"])
    path.write_text(strict_json.document(probes))
    said = json.loads((target / "artifact.json").read_text())
    for file in said["files"]:
        if file["path"] == "probes.json":
            file["digest"], file["size"] = storage.sha256_of(path), path.stat().st_size
    (target / "artifact.json").write_text(json.dumps(said))
    return target


@pytest.mark.slow
async def test_a_thousand_clients_that_leave_leave_nothing_behind(server: GenerationServer) -> None:
    restarts = server.figure("slipway_engine_restarts")
    before = server.complete(max_tokens=30).json["choices"][0]["text"]
    for number in range(1000):
        await asyncio.to_thread(server.leave_early, {"max_tokens": 400, "ignore_eos": True, "seed": number})
        if number % 50 == 49:
            await until(lambda: idle(server))
    await until(lambda: server.figure("vllm:kv_cache_usage_perc") == 0)
    assert server.complete(max_tokens=30).json["choices"][0]["text"] == before
    assert server.figure("slipway_engine_restarts") == restarts
    assert server.figure("slipway_tokens_in_flight") == 0


def test_a_model_that_answers_otherwise_than_it_was_judged_is_refused(
    start: Start, engine: str, tmp_path: Path
) -> None:
    def change(probes: Any) -> None:
        probes[0]["answer"]["logProbabilities"][0] -= 0.5

    with pytest.raises(RuntimeError, match="ProbeMismatch: probes: probe 0"):
        start(copied(engine, tmp_path / "model", change)).wait()


async def test_a_drain_lets_streams_end(server: GenerationServer) -> None:
    """The last of the file: it ends the server."""
    leaving = server
    parts: list[str] = []
    begun = threading.Event()

    def stream() -> str:
        finish = ""
        for event in leaving.client.completions.create(stream=True, temperature=0, **LONG):
            parts.append(event.choices[0].text)
            finish = event.choices[0].finish_reason or finish
            begun.set()
        return finish

    whole = leaving.complete(max_tokens=480, ignore_eos=True).json["choices"][0]["text"]
    streaming = asyncio.create_task(asyncio.to_thread(stream))
    await asyncio.to_thread(begun.wait, 30)
    leaving.process.send_signal(signal.SIGTERM)
    assert await streaming == "length"
    assert "".join(parts) == whole
    assert await asyncio.to_thread(leaving.process.wait, 30) == 0
