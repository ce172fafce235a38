"""Preference tuning of a recipe: direct preference optimization (Rafailov et al. 2023), on pairs of answers."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from slipway.api.common.base import Model, Rule


class PreferenceMethod(StrEnum):
    """DPO: the better answer of each pair gets likelier than the worse one, as seen from the model at the beginning."""

    DPO = "dpo"


class Preference(Model):
    """Learning of which of two answers is better."""

    method: PreferenceMethod = Field(PreferenceMethod.DPO, description="dpo.")
    beta: Annotated[float, Field(gt=0, le=100)] = Field(
        0.1, description="How near the model stays to the one at the beginning: the larger, the nearer."
    )


PREFERENCE_NEEDS_PAIRS = Rule(
    "!has(self.preference) || self.dataset.name == 'preference'",
    "preference learns from pairs: set dataset.name to preference, or remove it",
    lambda recipe: recipe.preference is None or _pairs(recipe),
)


def _pairs(recipe: Any) -> bool:
    return bool(recipe.dataset.name == "preference")
