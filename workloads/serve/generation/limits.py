"""Limits of a generation server: lengths, queue, times. Pure."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Defaults:
    """Values that hold where a request says nothing; None is OpenAI's own default."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None


@dataclass(frozen=True)
class Limits:
    """Lengths in tokens, times in seconds. `context`: prompt and answer together, of one request.

    `sequences` answers are made at once; `running_tokens` bounds what their prompts and the beginnings of their answers
    take, 0 for no bound. `waiting_tokens` of prompts may wait, one more is refused with 429.
    """

    context: int
    vocabulary: int
    sequences: int = 64
    running_tokens: int = 0
    waiting_tokens: int = 1 << 16
    timeout: float = 600.0
    defaults: Defaults = field(default_factory=Defaults)
