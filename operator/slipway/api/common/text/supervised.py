"""Fields of data sets `sft` and `preference`: texts, chats, and prompts with completions, for language models.

The three formats and most names are TRL's. Pure.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from slipway.api.common.base import Model, Rule


class TextFormat(StrEnum):
    """Form of a record: {"text"}, {"messages": [{"role", "content"}]} or {"prompt", "completion"}."""

    TEXT = "text"
    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt-completion"


class LossOn(StrEnum):
    """Tokens that are learned."""

    ALL = "all"
    ASSISTANT = "assistant"
    COMPLETION = "completion"


class SupervisedText(Model):
    """Fields of a data set whose next tokens are learned by a language model."""

    format: TextFormat | None = Field(
        None, description="sft: text, messages or prompt-completion; as the first record has it when unset."
    )
    max_length: Annotated[int, Field(ge=8, le=1048576)] | None = Field(
        None, description="sft: tokens of a sample, what is longer is cut off and counted; 1024 when unset."
    )
    packing: bool | None = Field(
        None, description="sft: several texts in one sample, none of which sees another; off when unset."
    )
    loss: LossOn | None = Field(
        None,
        description="sft: tokens that are learned. Unset: all of texts, assistant of messages, completion of prompts.",
    )
    chat_template: Annotated[str, Field(min_length=1, max_length=32768)] | None = Field(
        None, description="sft: the chat template, in jinja; the model's own when unset."
    )


_FIELDS = ("format", "maxLength", "loss", "chatTemplate")
_PLAIN = ("format", "max_length", "loss", "chat_template")
ONLY_SFT = Rule(
    f"self.name in ['sft', 'preference'] || !({' || '.join(f'has(self.{name})' for name in _FIELDS)})",
    "format, maxLength, loss and chatTemplate are for sft and preference: remove them",
    lambda data: data.name.value in {"sft", "preference"} or all(getattr(data, name) is None for name in _PLAIN),
)
ONLY_PACKED = Rule(
    "self.name == 'sft' || !has(self.packing)",
    "packing is for sft: remove it",
    lambda data: data.name.value == "sft" or data.packing is None,
)
LOSS_FITS = Rule(
    "!has(self.loss) || !has(self.format) || self.loss == 'all'"
    " || self.format == (self.loss == 'assistant' ? 'messages' : 'prompt-completion')",
    "loss assistant is for format messages, loss completion for prompt-completion: change one of the two",
    lambda data: (
        data.loss in {None, LossOn.ALL}
        or data.format is None
        or data.format == (TextFormat.MESSAGES if data.loss is LossOn.ASSISTANT else TextFormat.PROMPT_COMPLETION)
    ),
)
