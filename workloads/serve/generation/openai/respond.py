"""Answers of a request, collected to one reply or written as a stream of events."""

import asyncio
from collections.abc import Callable, Sequence

from workloads.serve.errors import RequestError
from workloads.serve.generation.openai import errors
from workloads.serve.generation.openai.replies import DONE, Choice, TokenText, Voice, event
from workloads.serve.generation.text.stop_strings import StopStrings
from workloads.serve.generation.text.tool_calls import OPEN, calls_in
from workloads.serve.http import Stream


class Collector:
    """Whole answers; `done` when all are there, or with the error that ended them."""

    def __init__(self, count: int, tools: Sequence[str]) -> None:
        """`tools`: names of those that may be called."""
        self.choices = [Choice(index) for index in range(count)]
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._left = count
        self._tools = tools

    def part(self, part: Choice) -> None:
        """More of an answer."""
        choice = self.choices[part.index]
        choice.text += part.text
        choice.tokens += part.tokens
        choice.completion_tokens = part.completion_tokens
        if part.finish is None:
            return
        choice.finish = part.finish
        if self._tools:
            choice.text, choice.calls = calls_in(choice.text, self._tools)
            choice.finish = "tool_calls" if choice.calls else choice.finish
        self._left -= 1
        if not self._left and not self.done.done():
            self.done.set_result(None)

    def failed(self, error: RequestError) -> None:
        """All answers end."""
        if not self.done.done():
            self.done.set_exception(error)


class _Spoken:
    """Parts of one answer that were written."""

    def __init__(self) -> None:
        self.begun = False
        self.text = ""
        self.sent = 0
        self.tokens: list[TokenText] = []  # of text that is held back
        self.completion_tokens = 0
        self.call = StopStrings([OPEN])
        self.held = False  # what follows may be a tool's call: it is told whole


class Streamer:
    """Writer of events. `over` is called with None at the end, or with the error that ended the answers."""

    def __init__(
        self,
        count: int,
        voice: Voice,
        stream: Stream,
        prompt_tokens: int,
        usage: bool,
        tools: Sequence[str],
        over: Callable[[RequestError | None], None],
    ) -> None:
        self._voice, self._stream, self._usage, self._tools, self._over = voice, stream, usage, tools, over
        self._prompt_tokens = prompt_tokens
        self._answers = [_Spoken() for _ in range(count)]
        self._left = count

    def part(self, part: Choice) -> None:
        """More of an answer."""
        spoken, out = self._answers[part.index], b""
        if not spoken.begun:
            spoken.begun, out = True, self._voice.first(part.index)
        spoken.completion_tokens = part.completion_tokens
        shown = self._shown(spoken, part)
        if shown is not None:
            out += self._voice.delta(shown, spoken.sent)
            spoken.sent += len(shown.text)
        if part.finish is not None:
            self._left -= 1
            if not self._left:
                out += self._last()
        self._stream.write(out)
        if not self._left:
            self._stream.end()
            self._over(None)

    def _shown(self, spoken: _Spoken, part: Choice) -> Choice | None:
        if not self._tools:
            return part
        spoken.text += part.text
        spoken.tokens += part.tokens
        if part.finish is not None:
            text, calls = calls_in(spoken.text, self._tools)
            rest = "" if calls else text[spoken.sent :]
            finish = "tool_calls" if calls else part.finish
            return Choice(part.index, rest, spoken.tokens, part.completion_tokens, finish, calls)
        if spoken.held or spoken.text.lstrip()[:1] == "{":
            return None
        text, spoken.held = spoken.call.add(part.text)
        if not text:
            return None
        tokens, spoken.tokens = spoken.tokens, []
        return Choice(part.index, text, tokens, part.completion_tokens)

    def _last(self) -> bytes:
        total = b""
        if self._usage:
            total = self._voice.total(self._prompt_tokens, sum(one.completion_tokens for one in self._answers))
        return total + DONE

    def failed(self, error: RequestError) -> None:
        """Tell the error as an event: the status was said long ago."""
        self._stream.write(event(errors.document(error)))
        self._stream.end()
        self._over(error)
