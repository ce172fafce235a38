"""Replies and events in OpenAI's form. Pure; called by the routes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from workloads.serve.generation.text.tool_calls import ToolCall

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class TokenText:
    """A token of an answer as logprobs tell it."""

    text: str
    log_probability: float | None


@dataclass
class Choice:
    """One answer, whole or so far."""

    index: int
    text: str = ""
    tokens: list[TokenText] = field(default_factory=list)
    completion_tokens: int = 0
    finish: str | None = None
    calls: Sequence[ToolCall] = ()


def event(document: Any) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % orjson.dumps(document)


def usage(prompt: int, completion: int) -> dict[str, int]:
    """Tokens that were read and written."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


@dataclass(frozen=True)
class Voice:
    """Fields that all replies to one request share. `chat`: of which of the two routes."""

    id: str
    model: str
    chat: bool
    logprobs: bool
    echo: bool = False
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, choices: Sequence[Choice], prompt_tokens: int, prompts: Sequence[str] = ()) -> dict[str, Any]:
        """The reply to a request without a stream. `prompts`: before the answers, for echo."""
        written = [self._choice(choice, prompts) for choice in sorted(choices, key=lambda choice: choice.index)]
        total = usage(prompt_tokens, sum(choice.completion_tokens for choice in choices))
        return {**self._head("chat.completion" if self.chat else "text_completion"), "choices": written, "usage": total}

    def first(self, index: int) -> bytes:
        """The event that begins an answer of a chat; nothing for a completion."""
        if not self.chat:
            return b""
        delta = {"role": "assistant", "content": ""}
        return self._event({"index": index, "delta": delta, "logprobs": None, "finish_reason": None})

    def delta(self, part: Choice, offset: int) -> bytes:
        """An event with more of an answer; `offset` is where its text begins."""
        if not self.chat:
            choice = {
                "index": part.index,
                "text": part.text,
                "logprobs": self._completion_logprobs(part.tokens, offset),
            }
            return self._event({**choice, "finish_reason": part.finish})
        delta: dict[str, Any] = {"content": part.text} if part.text else {}
        if part.calls:
            delta["tool_calls"] = [call.document(number) for number, call in enumerate(part.calls)]
        choice = {"index": part.index, "delta": delta, "logprobs": self._chat_logprobs(part.tokens)}
        return self._event({**choice, "finish_reason": part.finish})

    def total(self, prompt: int, completion: int) -> bytes:
        """The event with the usage."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return event({**self._head(kind), "choices": [], "usage": usage(prompt, completion)})

    def _event(self, choice: dict[str, Any]) -> bytes:
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        return event({**self._head(kind), "choices": [choice]})

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _choice(self, choice: Choice, prompts: Sequence[str]) -> dict[str, Any]:
        common = {"index": choice.index, "finish_reason": choice.finish}
        if not self.chat:
            before = prompts[choice.index] if prompts else ""
            logprobs = self._completion_logprobs(choice.tokens, 0)
            return {**common, "text": before + choice.text, "logprobs": logprobs}
        message: dict[str, Any] = {"role": "assistant", "content": choice.text, "refusal": None}
        if choice.calls:
            message["content"] = choice.text or None
            message["tool_calls"] = [call.document() for call in choice.calls]
        return {**common, "message": message, "logprobs": self._chat_logprobs(choice.tokens)}

    def _completion_logprobs(self, tokens: Sequence[TokenText], offset: int) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        offsets = []
        for token in tokens:
            offsets.append(offset)
            offset += len(token.text)
        top = [None if one.log_probability is None else {one.text: one.log_probability} for one in tokens]
        return {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.log_probability for token in tokens],
            "top_logprobs": top,
            "text_offset": offsets,
        }

    def _chat_logprobs(self, tokens: Sequence[TokenText]) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        content = []
        for token in tokens:
            entry = {"token": token.text, "logprob": token.log_probability, "bytes": list(token.text.encode())}
            content.append({**entry, "top_logprobs": [dict(entry)]})
        return {"content": content, "refusal": None}
