"""Text as samples: what a data set of text is, how it is cut into tokens, and how tokens become batches.

Read by the text data sets of this folder and by the trainer's text tasks.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import DatasetChoice
from slipway.api.training.learning.task import TrainingTask
from workloads import storage
from workloads.data.datasets import Augmentation, Samples
from workloads.data.texts.token_file import Texts, cached
from workloads.errors import BadInput, Corrupt
from workloads.libraries import TEXT, optional

if TYPE_CHECKING:
    import numpy.typing as npt

    Tokens = npt.NDArray[np.int32]
    Pairs = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

BYTES = 256
TOGETHER = 1024  # texts with a class each that are encoded together


class Tokenizer:
    """Bytes as tokens 0 to 255 and one more that ends a text and fills up; or the tokens of a tokenizer.json."""

    def __init__(self, uri: str | None) -> None:
        self.file: str | None = None
        self.vocabulary, self.end = BYTES + 1, BYTES
        self._library: Any = None
        if uri is not None:
            self._read(uri)

    def _read(self, uri: str) -> None:
        library = optional("tokenizers", "dataset.tokenizer is read by tokenizers", TEXT)
        path = storage.fetch(uri)
        path = path / "tokenizer.json" if path.is_dir() else path
        try:
            self.file = path.read_text()
            self._library = library.Tokenizer.from_str(self.file)
            # Lengths are this job's own; what the file says of them is for its old model.
            self._library.no_padding()
            self._library.no_truncation()
        except Exception as error:  # the library raises Exception itself
            raise Corrupt(f"{uri}: not a tokenizer.json ({error})") from error
        names = ("<|endoftext|>", "[PAD]", "<pad>", "</s>")
        known = (self._library.token_to_id(name) for name in names)
        self.vocabulary = int(self._library.get_vocab_size())
        self.end = next((int(number) for number in known if number is not None), 0)

    @property
    def digest(self) -> str:
        """Digest of what makes its tokens what they are."""
        return "bytes" if self.file is None else hashlib.sha256(self.file.encode()).hexdigest()

    def encode(self, text: str) -> "Tokens":
        """Tokens of a text, without special tokens."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> "list[Tokens]":
        """Tokens of each text by itself; a tokenizer.json's library takes several threads."""
        if self._library is None:
            return [np.frombuffer(text.encode(errors="replace"), np.uint8).astype(np.int32) for text in texts]
        found = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.asarray(one.ids, np.int32) for one in found]


@dataclass(frozen=True)
class Stream:
    """One long text as samples of `length` tokens; the targets are the same, one token later."""

    tokens: "npt.NDArray[Any]"
    length: int

    def __len__(self) -> int:
        return max(0, (len(self.tokens) - 1) // self.length)

    def batch(self, indices: Sequence[int]) -> "Pairs":
        """int64 [n, length] twice."""
        starts = np.asarray(indices, dtype=np.int64)[:, None] * self.length
        window = self.tokens[starts + np.arange(self.length + 1)].astype(np.int64)
        return np.ascontiguousarray(window[:, :-1]), np.ascontiguousarray(window[:, 1:])


@dataclass(frozen=True)
class LabelledTexts:
    """Texts with classes or other targets, cut or filled up to one length."""

    tokens: "Tokens"
    labels: "npt.NDArray[Any]"

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.int64], npt.NDArray[Any]]":
        """int64 [n, length], and int64 [n] or what else is learned of a text."""
        chosen = np.asarray(indices, dtype=np.int64)
        return self.tokens[chosen].astype(np.int64), self.labels[chosen]


@dataclass(frozen=True)
class TextSet:
    """Training and held-out text. Without labels the next token is what is learned."""

    training: Samples
    held_out: Samples
    labels: tuple[str, ...]
    tokenizer: Tokenizer
    length: int
    reference: DatasetReference
    augmentation: Augmentation = field(default_factory=Augmentation)
    taken: tuple[str, ...] = ()
    """What was taken of what was found, in words for the log and the report."""
    task: TrainingTask = TrainingTask.CLASSIFICATION
    """What is learned of a text with labels."""


def labelled(texts: Sequence[str], labels: "npt.NDArray[Any]", tokenizer: Tokenizer, length: int) -> LabelledTexts:
    """Encode all texts once."""
    tokens = np.full((len(texts), length), tokenizer.end, np.int32)
    for start in range(0, len(texts), TOGETHER):
        for row, found in zip(tokens[start:], tokenizer.encode_all(texts[start : start + TOGETHER]), strict=False):
            row[: len(found)] = found[:length]
    return LabelledTexts(tokens, labels)


def stream(texts: Texts, tokenizer: Tokenizer, length: int, identity: str) -> Stream:
    """The texts one after the other, each closed by the ending token; kept by texts.token_file."""
    return Stream(cached(texts, tokenizer, identity), length)


def checked(found: TextSet, choice: DatasetChoice) -> TextSet:
    """BadInput when there is too little text for a single sample."""
    for part, word in ((found.training, "training"), (found.held_out, "held-out")):
        if len(part) == 0:
            raise BadInput(f"{choice.uri}: too little {word} text for one sample of {choice.sequence_length} tokens")
    return found
