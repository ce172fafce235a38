"""Data set `preference`: pairs of answers, of which the first is better, as records with `chosen` and `rejected`.

In the shapes of `sft`: two texts, two chats (with the `prompt` before both, or in both), or a prompt and two
completions. A pair is one sample of two segments that do not see each other. It is left out, and counted, where
nothing of one answer is learned, or where both are the same once they are cut off; no pair at all is NothingToLearn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import DatasetReference
from slipway.api.common.sources import DatasetChoice, OnBadSample
from slipway.api.common.text.supervised import TextFormat
from workloads import storage
from workloads.data.texts import chats, packing
from workloads.data.texts.packing import TokenSequence
from workloads.data.texts.supervised import LENGTH, NOTHING, Counts, Record, SupervisedSet, divided, encoding
from workloads.data.texts.text import Tokenizer
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

SIDES = ("chosen", "rejected")
BESIDE = 3  # numbers behind a sample's targets: where the second answer begins, and both references' bits
Pair = tuple[TokenSequence, TokenSequence]


@dataclass(frozen=True)
class Pairs:
    """Pairs as samples. `references`: log-probability of each answer by the model at the beginning, NaN until known."""

    pairs: Sequence[Pair]
    references: "npt.NDArray[np.float64]" = field(compare=False)

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(self, indices: Sequence[int]) -> "tuple[Numbers, Numbers]":
        """Inputs as packing has them; int64 [n, length + BESIDE]: targets, then the border and the references' bits."""
        flat = [one for index in indices for one in self.pairs[index]]
        bins = [[2 * number, 2 * number + 1] for number in range(len(indices))]
        rows, targets = packing.Packed(flat, bins, None).batch(range(len(indices)))
        borders = np.array([[len(self.pairs[index][0].tokens)] for index in indices], np.int64)
        known = np.ascontiguousarray(self.references[list(indices)]).view(np.int64)
        return rows, np.concatenate([targets, borders, known], axis=1)


@dataclass(frozen=True)
class PreferenceSet(SupervisedSet):
    """Pairs, with the counts of the training part; `unlabelled` are pairs that teach nothing."""


def load(choice: DatasetChoice) -> PreferenceSet:
    """The records at the choice's uri; `tokenizer` is the model's folder. BadInput as told above."""
    root = storage.fetch(str(choice.uri))
    training, held, words = divided(root, choice)
    if choice.tokenizer is None:
        raise BadInput("dataset preference is cut into tokens as its model has it: there is no model.uri")
    kind = choice.format or _format_of(training[0][1], str(choice.uri))
    length = choice.max_length or LENGTH
    with encoding(choice, kind) as encoder:
        parts = [_encoded(records, encoder, kind, choice, length) for records in (training, held)]
    (pairs, counts), (others, _) = parts
    for part, word in ((pairs, "training"), (others, "held-out")):
        if not part:
            raise BadInput(
                f"{NOTHING}: {choice.uri}: none of the {word} pairs teaches anything: both answers are the same within "
                f"{length} tokens, or nothing of one is learned; raise dataset.maxLength, or change dataset.loss"
            )
    taken = (
        words,
        f"{len(pairs)} pairs, {counts.truncated} cut off at {length} tokens, {counts.unlabelled} left out since "
        "nothing of them is learned",
    )
    reference = DatasetReference(
        name="preference",
        uri=choice.uri,
        digest=storage.sha256_of(root) if root.is_file() else storage.tree_digest(storage.digests_of(root)),
        training_samples=len(pairs),
        held_out_samples=len(others),
    )
    return PreferenceSet(
        training=_unknown(pairs),
        held_out=_unknown(others),
        labels=(),
        tokenizer=Tokenizer(choice.tokenizer),
        length=length,
        reference=reference,
        taken=taken,
        counts=counts,
        prompts=tuple(tuple(one.tokens.tolist()) for one, _ in others[:64]),
    )


def _unknown(pairs: Sequence[Pair]) -> Pairs:
    return Pairs(pairs, np.full((len(pairs), 2), np.nan))


def _format_of(record: Mapping[str, Any], where: str) -> TextFormat:
    missing = [side for side in SIDES if side not in record]
    if missing:
        raise BadInput(
            f"{where}: a record has {', '.join(map(str, record))}, and no {missing[0]}; expected chosen and rejected"
        )
    if not isinstance(record["chosen"], str):
        return TextFormat.MESSAGES
    return TextFormat.PROMPT_COMPLETION if "prompt" in record else TextFormat.TEXT


def side_of(record: Mapping[str, Any], side: str, kind: TextFormat, where: str) -> dict[str, Any]:
    """One answer of a pair as a record of `sft`. BadInput where it is not there or of another form."""
    answer, prompt = record.get(side), record.get("prompt")
    if not answer:
        raise BadInput(f"{where} has no {side}")
    if kind is not TextFormat.MESSAGES:
        return {"text": answer} if kind is TextFormat.TEXT else {"prompt": prompt, "completion": answer}
    said = answer if isinstance(answer, list) else [{"role": "assistant", "content": answer}]
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt or []
    if not isinstance(before, list):
        raise BadInput(f"{where}: prompt must be text or a list of messages")
    return {"messages": [*before, *said], "tools": record.get("tools")}


def _encoded(
    records: Sequence[Record], encoder: chats.Encoder, kind: TextFormat, choice: DatasetChoice, length: int
) -> tuple[list[Pair], Counts]:
    kept: list[Pair] = []
    truncated = useless = skipped = 0
    for at, record in records:
        where = f"{choice.uri}: {at}"
        try:
            whole = [encoder.encode(side_of(record, side, kind, where), f"{where}, {side}") for side in SIDES]
        except BadInput as error:
            if choice.on_bad_sample is not OnBadSample.SKIP:
                raise
            skipped += 1
            print(f"warning: {error}, skipped", flush=True)
            continue
        truncated += any(len(one.tokens) > length for one in whole)
        first, second = (TokenSequence(one.tokens[:length], one.learned[:length]) for one in whole)
        learned = first.learned[1:].any() and second.learned[1:].any()
        if learned and not np.array_equal(first.tokens, second.tokens):
            kept.append((first, second))
        else:
            useless += 1
    tokens = sum(len(one.tokens) for pair in kept for one in pair)
    labelled = sum(int(one.learned[1:].sum()) for pair in kept for one in pair)
    return kept, Counts(tokens, labelled, truncated, useless, skipped)
