"""Numbers that look like data, for benchmarks: pictures, or tokens, made of the sample's index alone.

Arguments: kind (images, tokens), samples, classes, channels, height, width, vocabulary. A picture's class is told by
its brightness, a token by the one before, so that a loss that does not fall shows a trainer that does not train.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from slipway.api.common.artifact import DatasetReference, Preprocessing
from slipway.api.common.sources import DatasetChoice
from workloads import user_code
from workloads.data.datasets import Augmentation, DataSet
from workloads.data.texts.text import TextSet, Tokenizer
from workloads.errors import BadInput

if TYPE_CHECKING:
    import numpy.typing as npt

DEFAULTS = {
    "kind": "images", "samples": 4096, "classes": 10, "channels": 3, "height": 32, "width": 32, "vocabulary": 257,
}  # fmt: skip


# Pictures of noise, drawn once: a benchmark is of the trainer, and drawing numbers took longer than reading data does.
NOISE = 256


@dataclass(frozen=True)
class Patches:
    """Pictures of noise whose brightness tells the class."""

    count: int
    classes: int
    noise: "npt.NDArray[np.uint8]"

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]":
        """uint8 [n, c, h, w] and int64 [n]."""
        chosen = np.asarray(indices, np.int64)
        labels = chosen % self.classes
        bright = (labels * 200 // self.classes).astype(np.uint8)[:, None, None, None]
        return self.noise[chosen % len(self.noise)] + bright, labels


@dataclass(frozen=True)
class Counting:
    """Sequences in which each token is the one before plus the sample's step."""

    count: int
    length: int
    vocabulary: int

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: Sequence[int]) -> "tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]":
        """int64 [n, length] twice, the second one token later."""
        rows = np.asarray(indices, np.int64)[:, None]
        tokens = (rows * 7 + np.arange(self.length + 1) * (1 + rows % 3)) % self.vocabulary
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])


def load(choice: DatasetChoice) -> DataSet | TextSet:
    """Synthetic data of as many training samples as the arguments say; an eighth as many, at least 8, are held out."""
    given = user_code.decoded(choice.arguments)
    unknown = sorted(set(given) - set(DEFAULTS))
    if unknown or given.get("kind", "images") not in {"images", "tokens"}:
        raise BadInput(f"dataset.arguments of synthetic are {', '.join(DEFAULTS)}; kind is images or tokens")
    how: dict[str, Any] = {**DEFAULTS, **given}
    count, held = int(how["samples"]), max(8, int(how["samples"]) // 8)
    digest = "sha256:" + hashlib.sha256(json.dumps([how, choice.sequence_length], sort_keys=True).encode()).hexdigest()
    reference = DatasetReference(name="synthetic", digest=digest, training_samples=count, held_out_samples=held)
    if how["kind"] == "tokens":
        length, words = choice.sequence_length, int(how["vocabulary"])
        tokenizer = Tokenizer(None)
        tokenizer.vocabulary = words
        return TextSet(Counting(count, length, words), Counting(held, length, words), (), tokenizer, length, reference)
    shape = (int(how["channels"]), int(how["height"]), int(how["width"]))
    classes = int(how["classes"])
    middle = [0.5] * shape[0]
    noise = np.random.RandomState(0).randint(0, 32, (min(count, NOISE), *shape)).astype(np.uint8)
    return DataSet(
        training=Patches(count, classes, noise),
        held_out=Patches(held, classes, noise),
        labels=tuple(str(number) for number in range(classes)),
        preprocessing=Preprocessing(
            channels=1 if shape[0] == 1 else 3, height=shape[1], width=shape[2], mean=middle, std=middle
        ),
        augmentation=Augmentation(),
        reference=reference,
    )
