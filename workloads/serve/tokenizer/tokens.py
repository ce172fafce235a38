"""Tokens of texts as a model's inputs, as its artifact says. Pure after the tokenizer is read; called on threads too.

The length of a batch is chosen here: rows are padded to few lengths so that requests can share batches, but only for a
model that is told what is padding. For any other, rows of one length go together and nothing is added.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slipway.api.common.artifact import TOKENIZER_FILE, Artifact, Task, TextProcessing
from workloads.errors import BadInput, Corrupt
from workloads.libraries import extra
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.errors import Invalid
from workloads.serve.signature import Signature, Tensor

# Steps of a third at most: what padding costs at most, and how many groups a batch of many lengths falls into.
LENGTHS = tuple(sorted({*range(8, 33, 8), *(base * 2**power for power in range(17) for base in (32, 48))}))
INTEGERS = (Datatype.INT64, Datatype.INT32)


@dataclass(frozen=True)
class Row:
    """One text, or pair of them."""

    tokens: Sequence[int]
    types: Sequence[int]
    truncated: bool


def processing_of(artifact: Artifact | None, signature: Signature) -> TextProcessing | None:
    """Text processing that the artifact asks for; for a classifier of an older release what its trainer did.

    None: no texts.
    """
    if artifact is None:
        return None
    if artifact.text is not None:
        return artifact.text
    padding = artifact.architecture.arguments.get("padding")
    only = signature.inputs[0]
    if artifact.task is not Task.TEXT_CLASSIFICATION or len(signature.inputs) != 1 or not isinstance(padding, int):
        return None
    if len(only.axes) != 2 or not isinstance(only.axes[1], int):
        return None
    has_file = any(file.path == TOKENIZER_FILE for file in artifact.files)
    return TextProcessing(
        tokenizer=TOKENIZER_FILE if has_file else "bytes",
        max_tokens=only.axes[1],
        padding_token=padding,
        special_tokens=False,
        tokens=only.name,
        padded=True,
    )


class Tokens:
    """Tokens of one model. `padded`: rows of different lengths may share a batch; a test run may turn it off."""

    def __init__(self, how: TextProcessing, signature: Signature, folder: Path) -> None:
        """BadInput where artifact and model do not fit; Corrupt for a damaged tokenizer."""
        self.how = how
        self._roles = _roles(how, signature)
        self._signature = signature
        axis = signature.by_name[how.tokens].axes[1]
        fixed = axis if isinstance(axis, int) else None
        self.fixed = fixed
        self.limit = min(how.max_tokens, fixed) if fixed is not None else how.max_tokens
        self.padded = fixed is None and (how.padded or how.mask is not None)
        self._library: Any = None
        if how.tokenizer == TOKENIZER_FILE:
            self._library = _library(folder / TOKENIZER_FILE, self.limit)

    @property
    def pairs(self) -> bool:
        """True if two texts can be one row."""
        return self._library is not None

    def encode(self, texts: Sequence[str], seconds: Sequence[str] | None = None) -> list[Row]:
        """A row for each text, or for each text with its second one. Invalid for one without any token."""
        if self._library is None:
            if seconds is not None:
                raise Invalid("this model takes one text, not two")
            rows = [self._bytes(text) for text in texts]
        else:
            given = texts if seconds is None else list(zip(texts, seconds, strict=True))
            special = self.how.special_tokens
            found = self._library.encode_batch(given, add_special_tokens=special)
            rows = [Row(one.ids, one.type_ids, bool(one.overflowing)) for one in found]
        for place, row in enumerate(rows):
            if not row.tokens:
                raise Invalid(f"text {place + 1} is empty: there is no token in it")
        return rows

    def _bytes(self, text: str) -> Row:
        whole = text.encode(errors="replace")
        return Row(list(whole[: self.limit]), [0] * min(len(whole), self.limit), len(whole) > self.limit)

    def length_of(self, row: Row) -> int:
        """Length of the batch that a row belongs into."""
        if self.fixed is not None:
            return self.fixed
        if not self.padded:
            return len(row.tokens)
        return min(next((length for length in LENGTHS if length >= len(row.tokens)), self.limit), self.limit)

    def inputs(self, rows: Sequence[Row], length: int) -> dict[str, Array]:
        """The model's inputs [rows, length] by name."""
        filled = {name: np.full((len(rows), length), self._filling(role), np.int64) for name, role in self._roles}
        for name, role in self._roles:
            for place, row in enumerate(rows):
                values = row.tokens if role == "tokens" else row.types if role == "types" else [1] * len(row.tokens)
                filled[name][place, : len(values)] = values
        types = {tensor.name: tensor.datatype.dtype for tensor in self._signature.inputs}
        return {name: array.astype(types[name], copy=False) for name, array in filled.items()}

    def _filling(self, role: str) -> int:
        return self.how.padding_token if role == "tokens" else 0

    def follows_tokens(self, tensor: Tensor, output: Array, length: int) -> bool:
        """Tell whether an output [rows, ...] of a batch of this length has a value for each token."""
        free = len(tensor.axes) > 1 and isinstance(tensor.axes[1], str)
        return free and output.ndim > 1 and output.shape[1] == length


def _roles(how: TextProcessing, signature: Signature) -> tuple[tuple[str, str], ...]:
    named: Mapping[str, str | None] = {"tokens": how.tokens, "mask": how.mask, "types": how.types}
    roles = {name: role for role, name in named.items() if name is not None}
    inputs = signature.by_name
    if set(roles) != set(inputs):
        missing = sorted(set(roles) ^ set(inputs))
        raise BadInput(f"the artifact's text and the model's inputs differ in {', '.join(missing)}: name each input")
    for tensor in inputs.values():
        if tensor.datatype not in INTEGERS or len(tensor.axes) != 2:
            raise BadInput(f"input {tensor.name} takes no tokens: it must be INT64 or INT32 [batch, tokens]")
    return tuple((name, roles[name]) for name in inputs)


def _library(path: Path, limit: int) -> Any:
    # Its own threads would be as many as the node has CPUs; requests are spread over ours.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError as error:
        raise BadInput(f"this model's tokenizer needs the library tokenizers: {extra('serve')} ({error})") from error
    try:
        library = tokenizers.Tokenizer.from_str(path.read_text())
    except Exception as error:  # the library raises Exception itself
        raise Corrupt(f"{path}: not a tokenizer ({error})") from error
    library.no_padding()
    special = library.num_special_tokens_to_add(True)
    if special >= limit:
        raise BadInput(f"{limit} tokens leave no room for a text beside {special} special ones: raise text.maxTokens")
    library.enable_truncation(limit)
    return library
