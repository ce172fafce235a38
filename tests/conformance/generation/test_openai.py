"""OpenAI's routes as clients use them: its own client unmodified, errors in its form, and everything said clearly."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest

from tests.conformance.generation.conftest import Start
from tests.conformance.generation.server import PROMPT, GenerationServer

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}, "ok": {"type": "boolean"}},
    "required": ["a", "ok"],
}
FORM = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}


def test_the_models_are_listed(server: GenerationServer) -> None:
    models = server.client.models.list().data
    assert [model.id for model in models] == ["small"]
    assert server.client.models.retrieve("small").id == "small"
    described = server.ask("GET", "/v2/models/small").json
    assert described["properties"]["proved"].startswith("4 probes answered within")
    assert server.ask("GET", "/health").status == 200
    page = server.ask("GET", "/")
    assert b"tokens/s" in page.body


def test_a_stream_says_what_the_whole_reply_says(server: GenerationServer) -> None:
    said: dict[str, Any] = {"model": "small", "temperature": 0.9, "seed": 5, "max_tokens": 24, "n": 2}
    whole = server.client.completions.create(prompt=PROMPT, **said)
    texts, ends, usage = ["", ""], {}, None
    for event in server.client.completions.create(
        prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **said
    ):
        usage = event.usage or usage
        for choice in event.choices:
            texts[choice.index] += choice.text
            ends[choice.index] = choice.finish_reason
    assert texts == [choice.text for choice in whole.choices]
    assert texts[0] != texts[1], "each of n has a seed of its own"
    assert ends == {0: "length", 1: "length"}
    assert usage == whole.usage
    assert usage is not None
    assert usage.completion_tokens == 48


def test_a_chat_streams_with_its_role_first(server: GenerationServer) -> None:
    asked: Any = {"model": "small", "messages": [{"role": "user", "content": "Grüße 🎉"}], "temperature": 0}
    whole = server.client.chat.completions.create(**asked, max_completion_tokens=12)
    events = list(server.client.chat.completions.create(**asked, max_completion_tokens=12, stream=True))
    assert events[0].choices[0].delta.role == "assistant"
    assert "".join(event.choices[0].delta.content or "" for event in events) == whole.choices[0].message.content
    assert events[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_logprobs_are_of_the_tokens_that_were_chosen(server: GenerationServer) -> None:
    said = server.complete(logprobs=1).json["choices"][0]
    assert "".join(said["logprobs"]["tokens"]) == said["text"]
    assert all(value <= 0 for value in said["logprobs"]["token_logprobs"])
    chat = server.chat(logprobs=True, temperature=0).json["choices"][0]
    assert len(chat["logprobs"]["content"]) == 8


def test_what_is_nothing_in_32_bits_is_greedy(server: GenerationServer) -> None:
    """The engine refused a temperature of 1e-320 as 0, with a status of the server's own fault."""
    greedy = server.complete(max_tokens=12).json["choices"][0]["text"]
    assert server.complete(max_tokens=12, temperature=1e-320).json["choices"][0]["text"] == greedy


def test_stop_strings_end_an_answer_before_them(server: GenerationServer) -> None:
    text = server.complete(max_tokens=40).json["choices"][0]["text"]
    stop = text[7:10]
    said = server.complete(max_tokens=40, stop=[stop, "never said"]).json
    assert said["choices"][0]["text"] == text[: text.index(stop)]
    assert said["choices"][0]["finish_reason"] == "stop"
    assert said["usage"]["completion_tokens"] < 40


def test_alone_it_says_what_it_says_among_32_others(server: GenerationServer) -> None:
    async def every() -> list[str]:
        async with server.asynchronous as client:

            async def one(prompt: str, **said: Any) -> str:
                return (
                    (await client.completions.create(model="small", prompt=prompt, max_tokens=24, **said))
                    .choices[0]
                    .text
                )

            others = [one("x " * k + PROMPT, temperature=0.8) for k in range(32)]
            asked = [one(PROMPT, temperature=0), one(PROMPT, temperature=1.0, seed=7), *others]
            return (await asyncio.gather(*asked))[:2]

    greedy = server.complete(max_tokens=24).json["choices"][0]["text"]
    seeded = server.complete(max_tokens=24, temperature=1.0, seed=7).json["choices"][0]["text"]
    assert asyncio.run(every()) == [greedy, seeded]


def test_json_follows_the_schema_and_is_compact(server: GenerationServer) -> None:
    for seed in range(4):
        said = server.chat(response_format=FORM, seed=seed, max_tokens=60).json["choices"][0]
        text = said["message"]["content"]
        assert said["finish_reason"] == "stop"
        assert json.dumps(json.loads(text), separators=(",", ":")) == text
        assert set(json.loads(text)) == {"a", "ok"}
    streamed = server.client.chat.completions.create(
        model="small", messages=[{"role": "user", "content": "hi"}], response_format=FORM, stream=True, max_tokens=60
    )  # type: ignore[call-overload]
    assert set(json.loads("".join(one.choices[0].delta.content or "" for one in streamed))) == {"a", "ok"}


TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look"}}], ids=str)
def test_a_tool_that_must_be_called_is_called(server: GenerationServer, choice: Any) -> None:
    asked: Any = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "tools": [TOOL]}
    message = server.client.chat.completions.create(**asked, tool_choice=choice, max_tokens=90).choices[0]
    assert message.finish_reason == "tool_calls"
    assert message.message.tool_calls is not None
    call: Any = message.message.tool_calls[0]
    assert call.function.name == "look"
    assert set(json.loads(call.function.arguments)) == {"a", "ok"}
    events = list(server.client.chat.completions.create(**asked, tool_choice=choice, max_tokens=90, stream=True))
    calls = [call for event in events for call in event.choices[0].delta.tool_calls or ()]
    assert [call.function.name for call in calls if call.function] == ["look"]
    assert not any(event.choices[0].delta.content for event in events)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"bogus": 1}, "bogus"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 511}, "together"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"n": 128, "prompt": ["x"] * 5}, "640 answers"),
        ({"prompt": ""}, "no tokens"),
        ({"prompt": []}, "empty"),
        ({"prompt": [5, 99999]}, "99999"),
        ({"prompt": [5, -1]}, "-1"),
        ({"prompt": [[1, 2], [3, 512]]}, "512"),
        ({"prompt": "y " * 600}, "1200"),
        ({"prompt": "y" * 2_000_000}, "characters"),
        ({"stop": [""]}, "stop"),
        ({"stop_token_ids": [2**70]}, "stop_token_ids"),
        ({"repetition_penalty": 1e-300}, "repetition_penalty"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"logprobs": 5}, "chosen token"),
        ({"best_of": 3}, "best_of"),
        ({"suffix": "x"}, "suffix"),
        ({"logit_bias": {"5": 1}}, "logit_bias"),
        ({"min_tokens": 9}, "min_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream"),
        ({"echo": True, "logprobs": 1, "stream": True}, "not in a stream"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no"}}}}, "no"),
        ({"response_format": {"type": "json_schema"}}, "schema"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_makes_no_sense_is_refused_in_openai_s_form(server: GenerationServer, said: Any, words: str) -> None:
    answer = server.complete(**said)
    assert answer.status == 400, answer.body
    assert answer.json["error"]["type"] == "invalid_request_error"
    assert words in answer.json["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"model":"small"}', b"[" * 50_000, b"\xff"])
def test_a_body_that_is_no_request(server: GenerationServer, body: bytes) -> None:
    for route in ("completions", "chat/completions"):
        answer = server.ask("POST", f"/v1/{route}", body)
        assert answer.status == 400
        assert answer.json["error"]["message"]


def test_other_models_and_paths_are_not_found(server: GenerationServer) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'other'"):
        server.client.completions.create(model="other", prompt="x")
    assert server.ask("GET", "/v1/nothing").json["error"]["type"] == "not_found_error"
    assert server.ask("GET", "/v1/completions").status == 405


def test_prompts_of_any_kind_are_answered(server: GenerationServer) -> None:
    """One token; Unicode; several at once; by numbers; 100,000 characters of one that fits by its tokens."""
    assert server.complete([5]).json["usage"]["prompt_tokens"] == 1
    assert server.complete("\u0000\ud83d\ude00 e\u0301 \u202e العربية 中文 🏳️‍🌈").status == 200
    several = server.complete([PROMPT, "import"], n=2).json
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]
    assert (
        several["choices"][0]["text"] == several["choices"][1]["text"] == server.complete().json["choices"][0]["text"]
    )
    assert server.complete("word " * 20_000).status == 400
    assert server.complete(PROMPT, echo=True).json["choices"][0]["text"].startswith(PROMPT)
    assert server.ask("POST", "/v1/completions", b'{"prompt": "half \\ud83d"}').status in {200, 400}


def test_a_prompt_that_may_be_in_the_cache_is_scored_by_the_engine_that_can(server: GenerationServer) -> None:
    answer = server.complete(echo=True, logprobs=1)
    assert answer.status == (200 if server.child == "vllm" else 400)
    assert answer.status == 200 or "prefixCaching" in answer.json["error"]["message"]


def test_log_probabilities_of_a_prompt_are_those_of_its_own_answer(start: Start) -> None:
    """What lm-eval asks for: echo with logprobs of a text; the first token has none."""
    scoring = start(prefixCaching=False).wait()
    first = scoring.complete(PROMPT, max_tokens=6, logprobs=1).json["choices"][0]
    for _ in range(2):
        said = scoring.complete(PROMPT + first["text"], max_tokens=1, echo=True, logprobs=1).json["choices"][0]
        values = said["logprobs"]["token_logprobs"]
        assert values[0] is None
        assert "".join(said["logprobs"]["tokens"]) == said["text"]
        rounding = 0.1 if scoring.child == "vllm" else 5e-3  # vLLM computes in bfloat16 on CPUs
        assert values[-7:-1] == pytest.approx(first["logprobs"]["token_logprobs"], abs=rounding)


async def test_log_probabilities_of_a_prompt_are_the_same_beside_others_answers(start: Start) -> None:
    """Beside an answer under way OpenVINO GenAI told those of other tokens, 2 nats off, and lm-eval would take them."""
    scoring = start(prefixCaching=False).wait()
    said: dict[str, Any] = {"model": "small", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    async with scoring.asynchronous as client:

        async def one(**more: Any) -> Any:
            return (await client.completions.create(**{**said, "prompt": PROMPT, **more})).choices[0]

        alone = (await one()).logprobs.token_logprobs
        others = [one(echo=False, max_tokens=60 + number, temperature=1, seed=number) for number in range(8)]
        asked = [one() for _ in range(12)]
        found = await asyncio.gather(
            *(each for pair in zip(others, asked[:8], strict=True) for each in pair), *asked[8:]
        )
    scored = [each.logprobs.token_logprobs for each in found if len(each.logprobs.token_logprobs) == len(alone)]
    assert len(scored) >= 12
    rounding = 0.1 if scoring.child == "vllm" else 1e-4
    assert all(each[1:] == pytest.approx(alone[1:], abs=rounding) for each in scored)
