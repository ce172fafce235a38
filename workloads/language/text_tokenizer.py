"""Tokenizer of a language model's folder: tokenizer.json with the special tokens that the files beside it name.

By the library tokenizers alone, so that trainer, quantizer and server cut a text in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import TOKENIZER_FILE
from workloads.errors import BadInput, Corrupt
from workloads.language.config import end_tokens, optional_json
from workloads.libraries import TEXT, optional

SPECIAL = ("bos_token", "eos_token", "pad_token", "unk_token")
LARGEST = 256 << 20  # bytes


@dataclass(frozen=True)
class Encoded:
    """Token numbers of a text, and where in the text each begins and ends, in characters."""

    ids: list[int]
    spans: list[tuple[int, int]]


class TextTokenizer:
    """Texts to token numbers and back. `special` are the special tokens' texts, for chat templates."""

    def __init__(self, folder: Path) -> None:
        library = optional("tokenizers", "a language model's tokenizer.json is read by tokenizers", TEXT)
        path = folder / TOKENIZER_FILE
        if not path.is_file():
            raise BadInput(f"{folder}: there is no {TOKENIZER_FILE}; save the tokenizer with a fast tokenizer")
        if path.stat().st_size > LARGEST:
            raise Corrupt(f"{path}: {path.stat().st_size} bytes are no tokenizer")
        try:
            self._library: Any = library.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises Exception itself
            raise Corrupt(f"{path}: not a tokenizer ({error})") from error
        self._library.no_padding()
        self._library.no_truncation()
        said = {**optional_json(folder / "special_tokens_map.json"), **optional_json(folder / "tokenizer_config.json")}
        self.special = {name: _text(said[name]) for name in SPECIAL if said.get(name)}
        self.size = int(self._library.get_vocab_size())
        # Characters of the longest token, which bounds what a number of tokens can say.
        self.longest = max(map(len, self._library.get_vocab(with_added_tokens=True)), default=1)
        ends = end_tokens(folder, optional_json(folder / "config.json"))
        own = self.number(self.special.get("eos_token", ""))
        self.end = own if own is not None else ends[0] if ends else None

    def number(self, token: str) -> int | None:
        """Number of a token by its text; None where there is none."""
        found = self._library.token_to_id(token) if token else None
        return None if found is None else int(found)

    def encode(self, text: str, *, special: bool = False) -> Encoded:
        """Tokens of a text. `special`: with those that the tokenizer adds by itself, never to a rendered chat, which
        has its own: a second first token is a known way to worse answers.
        """
        found = self._library.encode(text, add_special_tokens=special)
        return Encoded(list(found.ids), [tuple(span) for span in found.offsets])

    def encode_all(self, texts: Sequence[str], *, special: bool = False) -> list[Encoded]:
        """Tokens of many texts, by several threads."""
        found = self._library.encode_batch(list(texts), add_special_tokens=special)
        return [Encoded(list(one.ids), [tuple(span) for span in one.offsets]) for one in found]

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Text of tokens; special ones are left out unless `special`."""
        return str(self._library.decode(list(ids), skip_special_tokens=not special))


def _text(token: Any) -> str:
    """Special tokens are words, or objects with their content."""
    return str(token.get("content", "")) if isinstance(token, dict) else str(token)
