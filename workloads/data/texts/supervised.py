"""Data set `sft`: records of JSON lines or Parquet, tokenized, cut off at a length, packed or not, and counted.

What is told: how many tokens are learned, how many samples were cut off, how many have nothing left to be learned.
Nothing at all to be learned is NothingToLearn: a run would end well and leave the model as it was. Held out are the
files that are named so, else a tenth, by a hash of each record: the same record is never on both sides.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import DatasetChoice, OnBadSample
from slipway.api.common.text.supervised import TextFormat
from workloads import storage
from workloads.data import splits
from workloads.data.files_below import files_below
from workloads.data.texts import chats, packing, table
from workloads.data.texts.packing import TokenSequence
from workloads.data.texts.text import TextSet, Tokenizer
from workloads.errors import BadInput
from workloads.language.chat_template import ChatTemplate
from workloads.language.config import template_of
from workloads.language.text_tokenizer import TextTokenizer

LENGTH = 1024
HELD_OUT = 10
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
NOTHING = "NothingToLearn"


@dataclass(frozen=True)
class Counts:
    """Counts of a part of the data: sequences and tokens that are kept, and what became of the rest."""

    tokens: int = 0
    labelled: int = 0
    truncated: int = 0
    unlabelled: int = 0
    skipped: int = 0

    @property
    def share(self) -> float:
        """Share of the tokens that are learned."""
        return self.labelled / max(1, self.tokens)


@dataclass(frozen=True)
class SupervisedSet(TextSet):
    """Texts whose learned tokens are known, with the counts of the training part and texts for probes."""

    counts: Counts = Counts()
    prompts: tuple[tuple[int, ...], ...] = ()


def load(choice: DatasetChoice) -> SupervisedSet:
    """The records at the choice's uri; `tokenizer` is the model's folder. BadInput as told above."""
    root = storage.fetch(str(choice.uri))
    training, held, words = divided(root, choice)
    if choice.tokenizer is None:
        raise BadInput("dataset sft is cut into tokens as its model has it: there is no model.uri")
    length = choice.max_length or LENGTH
    parts = _tokenized(choice, training, held, length)
    (sequences, counts), (others, _) = parts
    _require_learned(sequences, others, counts, choice)
    make = (lambda found: packing.packed(found, length)) if choice.packing else packing.single
    samples = make(sequences)
    taken = (
        words,
        f"{counts.labelled} of {counts.tokens} tokens are learned ({counts.share:.1%}), {counts.truncated} samples cut "
        f"off at {length} tokens, {counts.unlabelled} left out since nothing of them is learned",
    )
    reference = DatasetReference(
        name="sft",
        uri=choice.uri,
        digest=storage.sha256_of(root) if root.is_file() else storage.tree_digest(storage.digests_of(root)),
        training_samples=len(samples),
        held_out_samples=len(others),
    )
    return SupervisedSet(
        training=samples,
        held_out=packing.single(others),
        labels=(),
        tokenizer=Tokenizer(choice.tokenizer),
        length=length,
        reference=reference,
        taken=taken,
        counts=counts,
        prompts=tuple(tuple(one.tokens.tolist()) for one in others[:64]),
    )


def _tokenized(
    choice: DatasetChoice, training: Sequence["Record"], held: Sequence["Record"], length: int
) -> list[tuple[list[TokenSequence], Counts]]:
    """Both parts as the model's tokenizer and template have them."""
    kind = choice.format or chats.format_of(training[0][1], str(choice.uri))
    with encoding(choice, kind) as encoder:
        return [_encoded(records, encoder, choice, length) for records in (training, held)]


@contextmanager
def encoding(choice: DatasetChoice, kind: TextFormat) -> Iterator[chats.Encoder]:
    """Encoder by the model's tokenizer and the template, whose process ends with the block."""
    folder = storage.fetch(str(choice.tokenizer))
    tokenizer, source = TextTokenizer(folder), choice.chat_template or template_of(folder)
    template = None if source is None else ChatTemplate(source, tokenizer.special)
    try:
        yield chats.Encoder(tokenizer, template, kind, choice.loss)
    finally:
        if template is not None:
            template.close()


def _require_learned(
    sequences: Sequence[TokenSequence], others: Sequence[TokenSequence], counts: Counts, choice: DatasetChoice
) -> None:
    for part, word in ((sequences, "training"), (others, "held-out")):
        if not part:
            raise BadInput(
                f"{NOTHING}: {choice.uri}: none of the {word} tokens is to be learned ({counts.truncated} samples were "
                f"cut off at {choice.max_length or LENGTH} tokens): raise dataset.maxLength, or change dataset.loss or "
                "the chat template"
            )


Record = tuple[str, Mapping[str, Any]]


def divided(root: Path, choice: DatasetChoice) -> tuple[list[Record], list[Record], str]:
    """Training and held-out records with where they are from, and how they were divided, in words."""
    if root.is_file():
        files, parts = {root.name: root}, splits.Parts((root.name,), ())
    else:
        found = files_below(root, lambda name: table.kind_of(Path(name)) in SUFFIXES)
        if not found:
            raise BadInput(f"{choice.uri}: no records in this folder ({', '.join(SUFFIXES)})")
        files = {one.relative_to(root).as_posix(): one for one in found}
        parts = splits.of_files(choice, list(files), str(choice.uri))
    training = [record for name in parts.training for record in _records(files[name])]
    held = [record for name in parts.held_out for record in _records(files[name])]
    if not training:
        raise BadInput(f"{choice.uri}: there are no records")
    if held:
        known = {_key(record) for _, record in training}
        apart = [one for one in held if _key(one[1]) not in known]
        words = f"{parts.words}, {len(held) - len(apart)} held-out records that are trained on as well left out"
        return training, apart, words
    keys = sorted({_key(record) for _, record in training})
    if len(keys) < 2:
        raise BadInput(f"{choice.uri}: one record alone leaves nothing to be held out: two different ones at least")
    chosen = set(keys[:: max(2, min(HELD_OUT, len(keys)))])
    held = [one for one in training if _key(one[1]) in chosen]
    return [one for one in training if _key(one[1]) not in chosen], held, "one record in ten held out, by its hash"


def _records(path: Path) -> Iterator[Record]:
    if table.kind_of(path) not in SUFFIXES:
        raise BadInput(f"{path}: expected {', '.join(SUFFIXES)}, or one of them with .gz")
    for number, record in enumerate(table.records(path), start=1):
        yield f"{path.name}, record {number}", record


def _key(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()


def _encoded(
    records: Sequence[Record], encoder: chats.Encoder, choice: DatasetChoice, length: int
) -> tuple[list[TokenSequence], Counts]:
    kept: list[TokenSequence] = []
    truncated = unlabelled = skipped = 0
    for where, record in records:
        try:
            found = encoder.encode(record, f"{choice.uri}: {where}")
        except BadInput as error:
            if choice.on_bad_sample is not OnBadSample.SKIP:
                raise
            skipped += 1
            print(f"warning: {error}, skipped", flush=True)
            continue
        truncated += len(found.tokens) > length
        cut = TokenSequence(found.tokens[:length], found.learned[:length])
        if cut.learned[1:].any():
            kept.append(cut)
        else:
            unlabelled += 1
    tokens, labelled = sum(len(one.tokens) for one in kept), sum(int(one.learned[1:].sum()) for one in kept)
    return kept, Counts(tokens, labelled, truncated, unlabelled, skipped)
