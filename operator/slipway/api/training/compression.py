"""Compression of a model before it is trained on: pruning, low rank, distillation.

Part of recipes and of QuantizationJobs; `workloads/compress` does it, one file per method.
"""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from slipway.api.common import uris
from slipway.api.common.base import Model, Rule
from slipway.api.common.types import Digest, Uri

MOST_STEPS = 4


class Method(StrEnum):
    """Method of compression."""

    MAGNITUDE = "magnitude"
    TWO_FOUR = "two-four"
    CHANNELS = "channels"
    LOW_RANK = "low-rank"
    DISTILLATION = "distillation"


# They leave zeros in weights of the same shape; the others leave fewer weights.
SPARSE = frozenset({Method.MAGNITUDE, Method.TWO_FOUR})
_RATIO = frozenset({Method.MAGNITUDE, Method.CHANNELS})


class CompressionStep(Model):
    """One step; the training that follows repairs what it cost."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(self.method in ['channels', 'magnitude']) == has(self.ratio)",
            "ratio says how much magnitude and channels take away: set it for them, and for no other method",
            lambda step: (step.method in _RATIO) == (step.ratio is not None),
        ),
        Rule(
            "(self.method == 'low-rank') == has(self.energy)",
            "energy says how much of each layer low-rank keeps: set it for low-rank, and for no other method",
            lambda step: (step.method is Method.LOW_RANK) == (step.energy is not None),
        ),
        Rule(
            "!has(self.alpha) || self.method == 'distillation'",
            "alpha says how much of the loss is distillation's: remove it from the other methods",
            lambda step: step.alpha is None or step.method is Method.DISTILLATION,
        ),
    )
    method: Method = Field(
        description="magnitude: the smallest weights of all layers become zero; two-four: two of each four; "
        "channels: whole channels are removed; low-rank: layers become products of two thinner ones; distillation, "
        "of QuantizationJobs only: nothing, the model learns the float model's answers."
    )
    ratio: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description="magnitude: share of the weights; channels: share of each layer's channels."
    )
    energy: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="low-rank: share of the sum of squared singular values that is kept in each layer."
    )
    alpha: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="distillation: share of the loss that asks for the float model's answers; 0.7 when unset."
    )
    exclude: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=64)] = Field(
        default_factory=list, description="Names of layers that stay as they are; * stands for any characters."
    )


# CEL's lists have no positions: so pairs are counted here.
_PLACES = list(range(MOST_STEPS))
SPARSE_LAST = Rule(
    f"!has(self.compression) || !{_PLACES}.exists(i, {_PLACES}.exists(j, i < j && j < size(self.compression) && "
    "self.compression[i].method in ['magnitude', 'two-four'] && "
    "self.compression[j].method in ['channels', 'low-rank']))",
    "compression: magnitude and two-four choose among the weights that are left, so channels and low-rank go first",
    lambda owner: _sparse_last(owner.compression or []),
)
OWN_TEACHER = Rule(
    "!has(self.compression) || !self.compression.exists(s, s.method == 'distillation')",
    "compression: a recipe names the teacher that it learns from: set distillation beside compression",
    lambda owner: all(step.method is not Method.DISTILLATION for step in owner.compression or []),
)


def _sparse_last(steps: list[CompressionStep]) -> bool:
    sparse = [step.method in SPARSE for step in steps if step.method is not Method.DISTILLATION]
    return sparse == sorted(sparse)


Steps = Annotated[list[CompressionStep], Field(min_length=1, max_length=MOST_STEPS)]


class Teacher(Model):
    """A trained model with the same inputs, outputs and labels."""

    cel: ClassVar[tuple[Rule, ...]] = uris.read()
    uri: Uri = Field(description="Its artifact's folder, for example pvc://claim/path.")
    digest: Digest | None = Field(None, description="Refuse anything else: sha256 of its artifact.json.")


class Distillation(Model):
    """Learn a teacher's answers beside the labels (Hinton, Vinyals, Dean 2015)."""

    teacher: Teacher = Field(description="Who is learned from.")
    temperature: Annotated[float, Field(gt=0, le=100)] = Field(
        4.0, description="Both answers are divided by it: higher tells more of the classes that are not the answer."
    )
    alpha: Annotated[float, Field(gt=0, le=1)] = Field(
        0.7, description="Share of the loss that asks for the teacher's answers instead of the labels."
    )


class CompressionGate(Model):
    """Limit of what compression or distillation may cost; a model that lost more is not published."""

    max_drop: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01,
        description="Share of the held-out figure before compression, or of the teacher's, that may be lost: of "
        "accuracy, precision, IoU or R2, or by which perplexity may rise. 0.01 is one percent; 1 allows anything.",
    )


GATE_FITS = Rule(
    "!has(self.compressionGate) || has(self.distillation) || (has(self.compression) && has(self.model.uri))",
    "compressionGate compares with the weights of model.uri or with the teacher of distillation: set one, or remove it",
    lambda recipe: (
        recipe.compression_gate is None
        or recipe.distillation is not None
        or (recipe.compression is not None and recipe.model.uri is not None)
    ),
)
