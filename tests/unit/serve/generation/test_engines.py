"""Engines in processes: spoken to, cancelled, killed, given up; vLLM's by a program that speaks as it does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from slipway.api.serving.generation import Adapter, Generation, KvCache
from tests.unit.runtime.waiting import until
from workloads.errors import BadInput, Unavailable
from workloads.language.probes import NOT_APPLIED, Answer, Probe
from workloads.serve.generation.engines import child
from workloads.serve.generation.engines.openvino import OpenVinoEngine
from workloads.serve.generation.engines.vllm import VllmEngine, arguments
from workloads.serve.generation.messages import Piece, Prompt, Sampling
from workloads.serve.generation.probing import ProbesFailed, prove

LIKE_VLLM = (sys.executable, str(Path(__file__).with_name("vllm_like.py")))


class Heard:
    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.values: list[float] = []
        self.end = ""

    def piece(self, piece: Piece) -> None:
        self.tokens += piece.tokens
        self.values += piece.log_probabilities
        self.end = piece.error or piece.finish


def ask(engine, number: int, tokens: list[int], count: int = 3, adapter: str = "") -> Heard:
    heard = Heard()
    engine.add(Prompt(number, tokens, Sampling(count), adapter), heard)
    return heard


@asynccontextmanager
async def running(engine):
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def vllm(tmp_path: Path, adapters=(), **said) -> VllmEngine:
    os.environ["GONE"] = str(tmp_path / "gone")
    return VllmEngine("folder", "m", Generation(**said), 128, adapters, LIKE_VLLM)


async def test_vllm_is_asked_by_token_numbers_and_tells_them(tmp_path: Path) -> None:
    async with running(vllm(tmp_path)) as engine:
        heard = [ask(engine, number, [number]) for number in range(20, 30)]
        await until(lambda: all(one.end for one in heard))
        assert [one.tokens for one in heard] == [[n + 1, n + 2, n + 3] for n in range(20, 30)]
        assert heard[0].values == [-1.0] * 3
        assert {one.end for one in heard} == {"length"}
        assert engine.facts.cache_tokens == 1024
        assert "0.99" in engine.facts.version
        await until(lambda: engine.status.cache_usage == 0.25)
        refused = ask(engine, 1, [14])
        await until(lambda: refused.end)
        assert "400: no fourteen" in refused.end


async def test_a_client_that_leaves_is_told_to_vllm(tmp_path: Path) -> None:
    async with running(vllm(tmp_path)) as engine:
        heard = ask(engine, 1, [100], 100_000)
        await until(lambda: heard.tokens)
        engine.cancel(1)
        await until((tmp_path / "gone").exists)
        assert not heard.end


async def test_vllm_that_dies_is_replaced(tmp_path: Path) -> None:
    async with running(vllm(tmp_path)) as engine:
        long, was = ask(engine, 1, [100], 100_000), engine.pid
        await until(lambda: long.tokens)
        ask(engine, 2, [13])
        await until(lambda: long.end and engine.restarts == 1)
        later = ask(engine, 3, [50])
        await until(lambda: later.end)
        assert later.tokens == [51, 52, 53]
        assert engine.restarts == 1
        assert engine.pid != was


async def test_an_adapter_that_has_no_effect_is_refused_by_its_probes(tmp_path: Path) -> None:
    """vLLM serves the base without a word where an adapter's names match nothing."""
    adapters = [Adapter(name=name, uri=f"pvc://a/{name}") for name in ("first", "second")]

    def probe(step: int) -> Probe:
        return Probe([40], Answer([40 + step, 40 + 2 * step], [-1.0, -1.0], [9.0, 9.0]), Answer([41, 42], [-1.0, -1.0]))

    engine = vllm(tmp_path, adapters)
    engine._adapters = []  # their folders are not on this machine
    async with running(engine):
        assert (await prove(engine, [probe(2)], 128, "second")).reason == ""
        with pytest.raises(ProbesFailed, match=f"^{NOT_APPLIED}: probes of the adapter first"):
            await prove(engine, [probe(2)], 128, "first")


async def test_vllm_tells_the_log_probabilities_of_a_prompt_in_its_first_event(tmp_path: Path) -> None:
    said: list[Piece] = []
    async with running(vllm(tmp_path)) as engine:
        assert engine.facts.echoes
        assert engine.facts.version == "0.99"

        class Kept:
            def piece(self, piece: Piece) -> None:
                said.append(piece)

        engine.add(Prompt(1, [5, 6, 7], Sampling(2, echo=True)), Kept())
        await until(lambda: bool(said) and bool(said[-1].finish))
    assert list(said[0].prompt) == [0.0, -2.0, -2.0]
    assert [token for piece in said for token in piece.tokens] == [8, 9]
    assert [value for piece in said for value in piece.log_probabilities] == [-1.0, -1.0]


def test_vllm_s_arguments_say_what_the_service_says() -> None:
    said = arguments("m", Generation(max_sequences=8, prefix_caching=False, kv_cache=KvCache(memory="1Gi")), 2048)
    text = " ".join(said)
    for one in ("--max-model-len 2048", "--max-num-seqs 8", "--no-enable-prefix-caching", "--host 127.0.0.1",
                "--kv-cache-memory-bytes 1073741824", "--served-model-name m"):  # fmt: skip
        assert one in text
    assert "trust" not in text
    assert "chunked" not in text
    on_cpu = " ".join(arguments("m", Generation(max_batched_tokens=256), 2048, 1 << 26))
    for one in ("--no-enable-chunked-prefill", "--max-num-batched-tokens 2048", "--kv-cache-memory-bytes 67108864"):
        assert one in on_cpu
    with pytest.raises(BadInput, match="u8"):
        arguments("m", Generation(kv_cache=KvCache(precision="u8")), 64)


async def test_an_image_without_vllm_says_so() -> None:
    engine = VllmEngine("folder", "m", Generation(), 128, (), ("no-such-program",))
    with pytest.raises(BadInput, match="no-such-program"):
        await engine.start()


def program(tmp_path: Path, body: str) -> list[str]:
    """A program in the place of OpenVINO's, that reads its settings and then does as the test says."""
    path = tmp_path / "program.py"
    path.write_text(
        "import json, os, sys, time\nasked = json.loads(sys.stdin.readline())\n"
        "def say(*said): print(json.dumps(said), flush=True)\n"
        "READY = {'ready': {'version': '1', 'cacheBytes': 1, 'cache': 0.0, 'running': 0}}\n" + body
    )
    return [sys.executable, str(path)]


ASKED = {"blocks": 2, "blockTokens": 32, "properties": {}, "prefixCaching": True}
ECHO = """
say(READY)
for line in sys.stdin:
    said = json.loads(line)
    if said['tokens'] == [13]: os._exit(3)
    say({'id': said['id'], 'tokens': said['tokens'], 'logprobs': [0.0], 'finish': 'stop'})
"""


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("say({'refused': 'no such model'})", BadInput, "no such model"),
        ("os._exit(4)", Unavailable, "with 4"),
        ("print('no json', flush=True)", Unavailable, "no message"),
    ],
)
async def test_a_program_that_does_not_load_says_why(tmp_path: Path, body: str, error, words: str) -> None:
    with pytest.raises(error, match=words):
        await OpenVinoEngine(ASKED, program(tmp_path, body)).start()


async def test_answers_that_came_while_there_was_no_process_begin_afterwards(tmp_path: Path) -> None:
    async with running(OpenVinoEngine(ASKED, program(tmp_path, ECHO))) as engine:
        deadly = ask(engine, 1, [13])
        await until(lambda: engine.pid == 0)
        waiting, cancelled = ask(engine, 2, [5]), ask(engine, 3, [6])
        engine.cancel(3)
        await until(lambda: waiting.end)
        assert "being replaced" in deadly.end
        assert (waiting.tokens, waiting.end) == ([5], "stop")
        assert not cancelled.end


async def test_one_that_dies_again_and_again_is_given_up(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(child, "PAUSE", 0.0)
    body = f"mark = {str(tmp_path / 'mark')!r}\nif os.path.exists(mark): os._exit(1)\nopen(mark, 'w')\n{ECHO}"
    async with running(OpenVinoEngine(ASKED, program(tmp_path, body))) as engine:
        os.kill(engine.pid, signal.SIGKILL)
        await until(lambda: engine.pid == 0)
        waiting = ask(engine, 2, [5])
        await until(lambda: engine.broken, seconds=30)
        assert "times in a row" in waiting.end


async def test_one_that_hangs_is_ended_and_replaced(tmp_path: Path) -> None:
    body = ECHO.replace("if said['tokens'] == [13]: os._exit(3)", "if said['tokens'] == [13]: time.sleep(1000)")
    async with running(OpenVinoEngine(ASKED, program(tmp_path, body), patience=0.2)) as engine:
        stuck = ask(engine, 1, [13])
        await until(lambda: stuck.end, seconds=30)
        assert "being replaced" in stuck.end
        later = ask(engine, 2, [5])
        await until(lambda: later.end == "stop", seconds=30)


async def test_half_a_line_is_no_message(tmp_path: Path) -> None:
    body = 'say(READY)\nsys.stdin.readline()\nprint(\'[{"id": 1, "tok\', flush=True)\nos._exit(2)\n'
    async with running(OpenVinoEngine(ASKED, program(tmp_path, body))) as engine:
        heard = ask(engine, 1, [5])
        await until(lambda: heard.end)
        assert "being replaced" in heard.end
        assert asyncio.all_tasks()
