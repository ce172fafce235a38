"""Messages between server and engines: prompts with their sampling, pieces of answers, figures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Sampling:
    """Sampling of tokens. Temperature 0 is greedy; a `seed` makes an answer repeatable in any company."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # 0: all
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    min_tokens: int = 0
    stop_tokens: Sequence[int] = ()
    ignore_end: bool = False
    grammar: str | None = None  # EBNF of the answer
    echo: bool = False  # tell the log-probabilities of the prompt's tokens, too


@dataclass(frozen=True)
class Prompt:
    """One answer that an engine shall give. `id` is the server's own, never a client's."""

    id: int
    tokens: Sequence[int]
    sampling: Sampling
    adapter: str = ""  # name of an adapter that the engine has loaded


@dataclass(frozen=True)
class Piece:
    """Tokens that an engine has added to an answer, each with its log-probability in nats.

    `prompt`: those of the prompt's tokens where they are asked for, the first of which has none. `finish`: stop or
    length with the last ones, else empty. `error` in words ends the answer too.
    """

    tokens: Sequence[int] = ()
    log_probabilities: Sequence[float] = ()
    prompt: Sequence[float] = ()
    finish: str = ""
    error: str = ""


@dataclass
class EngineStatus:
    """An engine's figures of now; shares are of 1."""

    cache_usage: float = 0.0
    running: int = 0
    preemptions: int = 0


@dataclass(frozen=True)
class EngineFacts:
    """Facts of an engine that has started. 0 tokens of cache: it does not tell."""

    name: str
    version: str
    cache_tokens: int = 0
    cache_bytes: int = 0
    echoes: bool = False  # it tells the log-probabilities of prompts
    details: dict[str, Any] = field(default_factory=dict)


class Receiver(Protocol):
    """Whoever waits for an answer."""

    def piece(self, piece: Piece) -> None:
        """More of it."""


class Engine(Protocol):
    """An engine, called on the event loop alone.

    `restarts` counts how often its process was replaced; `broken` says why only a new pod helps, or nothing.
    """

    facts: EngineFacts
    status: EngineStatus
    restarts: int
    broken: str

    async def start(self) -> EngineFacts:
        """Load the model. Raises BadInput, Corrupt or Unavailable."""

    def add(self, prompt: Prompt, receiver: Receiver) -> None:
        """Begin an answer; a process that is being replaced begins it afterwards."""

    def cancel(self, number: int) -> None:
        """Nobody waits for an answer any more; its receiver hears nothing more."""

    async def close(self) -> None:
        """End the process."""
