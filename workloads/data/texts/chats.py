"""Records of the data set `sft` as token sequences: what a text, a chat or a prompt becomes, and what of it is learned.

A chat is rendered whole by the template and cut into tokens once, as a server does. Learned are the tokens inside an
assistant's words: where the template marks them, else from the end of what it renders before the answer to the end of
what it renders with it, which must be a continuation of each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slipway.api.common.text.supervised import LossOn, TextFormat
from workloads.data.texts.packing import TokenSequence
from workloads.errors import BadInput
from workloads.language.chat_template import ChatTemplate
from workloads.language.text_tokenizer import TextTokenizer

KEYS = {
    TextFormat.TEXT: ("text",),
    TextFormat.MESSAGES: ("messages",),
    TextFormat.PROMPT_COMPLETION: ("prompt", "completion"),
}
DEFAULT_LOSS = {
    TextFormat.TEXT: LossOn.ALL,
    TextFormat.MESSAGES: LossOn.ASSISTANT,
    TextFormat.PROMPT_COMPLETION: LossOn.COMPLETION,
}


def format_of(record: Mapping[str, Any], where: str) -> TextFormat:
    """Format of a record by its fields. BadInput where it has none of them."""
    found = [kind for kind, keys in KEYS.items() if all(key in record for key in keys)]
    if not found:
        raise BadInput(
            f"{where}: a record has {', '.join(map(str, record))}; expected text, messages, or prompt and completion"
        )
    return found[0]


class Encoder:
    """Token sequences of records in one format."""

    def __init__(
        self, tokenizer: TextTokenizer, template: ChatTemplate | None, kind: TextFormat, loss: LossOn | None
    ) -> None:
        """BadInput for messages without a template."""
        self._tokenizer, self._template, self._kind = tokenizer, template, kind
        self._loss = loss or DEFAULT_LOSS[kind]
        if kind is TextFormat.MESSAGES and template is None:
            raise BadInput("the model has no chat template: set dataset.chatTemplate, or use another format")
        allowed = {LossOn.ALL, DEFAULT_LOSS[kind]}
        if self._loss not in allowed:
            raise BadInput(f"dataset.loss {self._loss} does not fit format {kind}: use {' or '.join(sorted(allowed))}")

    def encode(self, record: Mapping[str, Any], where: str) -> TokenSequence:
        """The record's tokens. BadInput names what is missing, or why a chat cannot be rendered."""
        missing = [key for key in KEYS[self._kind] if not record.get(key)]
        if missing:
            raise BadInput(f"{where} has no {missing[0]}")
        if self._kind is TextFormat.MESSAGES:
            return self._chat(record["messages"], record.get("tools"), where)
        texts = [record[key] for key in KEYS[self._kind]]
        if not all(isinstance(text, str) for text in texts):
            raise BadInput(f"{where}: {' and '.join(KEYS[self._kind])} must be text")
        # Apart, as at serving: there the prompt is cut into tokens before there is a completion.
        parts = [self._tokenizer.encode(text, special=not number).ids for number, text in enumerate(texts)]
        ends = [] if self._tokenizer.end is None else [self._tokenizer.end]
        # Tokenizers that close a text by themselves have closed the prompt.
        if len(parts) > 1 and parts[0][-1:] == ends:
            parts[0] = parts[0][:-1]
        last = parts[-1] if parts[-1][-1:] == ends else [*parts[-1], *ends]
        learned = [self._loss is LossOn.ALL or len(parts) == 1] * sum(map(len, parts[:-1])) + [True] * len(last)
        return _sequence([*(one for part in parts[:-1] for one in part), *last], learned)

    def _chat(self, messages: Any, tools: Any, where: str) -> TokenSequence:
        _require_messages(messages, where)
        assert self._template is not None  # noqa: S101 (refused at the beginning)
        try:
            found = self._template.render(messages, tools=tools)
            encoded = self._tokenizer.encode(found.text)
            if self._loss is LossOn.ALL:
                return _sequence(encoded.ids, [True] * len(encoded.ids))
            spans = found.spans or self._spans(found.text, messages, tools)
        except BadInput as error:
            raise BadInput(f"{where}: {error}") from error
        learned = [any(first <= begin < last for first, last in spans) for begin, _ in encoded.spans]
        return _sequence(encoded.ids, learned)

    def _spans(self, whole: str, messages: Sequence[Mapping[str, Any]], tools: Any) -> list[tuple[int, int]]:
        assert self._template is not None  # noqa: S101
        spans = []
        for number, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            before = self._template.render(messages[:number], generation=True, tools=tools).text
            after = self._template.render(messages[: number + 1], tools=tools).text
            if not (after.startswith(before) and whole.startswith(after)):
                raise BadInput(
                    "the chat template renders a chat's beginning in another way than the whole chat, so the "
                    "assistant's words cannot be found: mark them by {% generation %}, or set dataset.loss: all"
                )
            spans.append((len(before), len(after)))
        return spans


def _require_messages(messages: Any, where: str) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise BadInput(f"{where}: messages must be a list")
    for message in messages:
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str) or "content" not in message:
            raise BadInput(f"{where}: a message is no object with role and content")


def _sequence(ids: Iterable[int], learned: Iterable[bool]) -> TokenSequence:
    return TokenSequence(np.asarray(list(ids), np.int64), np.asarray(list(learned), np.bool_))
