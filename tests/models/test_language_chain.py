"""Language models through the whole chain, and what only a patient machine tries of their server. Slow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.conformance.generation.server import PROMPT, GenerationServer
from tests.models.language import chain, openvino, small
from tests.unit.runtime.waiting import until

pytestmark = pytest.mark.slow


def test_one_that_was_fine_tuned_and_quantized_is_served_and_proved(tmp_path: Path) -> None:
    found = chain.chain(tmp_path)
    assert found["perplexity"]["fine-tuned"] < 0.5 * found["perplexity"]["base"]
    assert found["answer"]
    assert "probes answered within" in found["proved"]
    sizes = {row["name"]: row["sizeBytes"] for row in found["candidates"]}
    assert min(sizes.values()) < 0.5 * sizes["float"]


def test_a_folder_of_hugging_face_s_is_served_in_openvino_s_form(tmp_path: Path) -> None:
    pytest.importorskip("openvino_genai")
    server = GenerationServer(tmp_path, small.folder(), {}).wait()
    try:
        described = server.ask("GET", "/v2/models/small").json
        assert "no probes" in described["properties"]["warning_1"]
        text = server.complete(max_tokens=12).json["choices"][0]["text"]
    finally:
        server.stop()
    (tmp_path / "other").mkdir()
    other = GenerationServer(tmp_path / "other", openvino.folder(), {}).wait()
    try:
        assert other.complete(max_tokens=12).json["choices"][0]["text"] == text
    finally:
        other.stop()


async def test_a_thousand_clients_that_leave_leave_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("openvino_genai")
    server = GenerationServer(tmp_path, openvino.folder(), {}).wait()
    try:
        before = server.complete(max_tokens=30).json["choices"][0]["text"]
        limit = asyncio.Semaphore(16)

        async def one(number: int) -> None:
            async with limit:
                body = {"max_tokens": 400, "ignore_eos": True, "prompt": f"{number} {PROMPT}"}
                await asyncio.to_thread(server.leave_early, body)

        await asyncio.gather(*(one(number) for number in range(1000)))
        await until(lambda: server.figure("vllm:num_requests_running") == 0)
        assert server.complete(max_tokens=30).json["choices"][0]["text"] == before
        assert server.figure("slipway_engine_restarts") == 0
        assert server.figure("slipway_tokens_in_flight") == 0
        # Every block is free again: as many whole answers as the cache holds are made at once.
        whole = server.complete([PROMPT] * 16, max_tokens=480, ignore_eos=True)
        assert {choice["finish_reason"] for choice in whole.json["choices"]} == {"length"}
        assert whole.json["usage"]["completion_tokens"] == 16 * 480
    finally:
        server.stop()
