"""Texts of a request before they are tokenized, and how much of them one request may hold. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from workloads.serve.errors import TooLarge

MOST_TEXTS = 1024
MOST_CHARACTERS = 1 << 20  # of all texts of a request: seconds of a thread at most
BYTES_A_CHARACTER = 4  # at most


@dataclass(frozen=True)
class TextInputs:
    """Texts of a request, each with a second one or none with one."""

    texts: Sequence[str]
    seconds: Sequence[str] | None = None
    priority: int = 0
    timeout: float = 0.0


def check_bytes(size: int) -> None:
    """TooLarge for so many bytes of UTF-8 that there are too many characters in any case."""
    if size > BYTES_A_CHARACTER * MOST_CHARACTERS:
        raise TooLarge(f"{size} bytes hold too many characters of text: {MOST_CHARACTERS} fit into one request")
