"""Parameter-efficient fine-tuning of a recipe: LoRA (Hu et al. 2021), QLoRA (Dettmers et al. 2023), by PEFT's names."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

from slipway.api.common.base import Model, Rule

ALL_LINEAR = "all-linear"


class PeftMethod(StrEnum):
    """LoRA, or LoRA over a base whose matrices are kept in few bits."""

    LORA = "lora"
    QLORA = "qlora"


class Merge(StrEnum):
    """Choice of what is published: the adapter, the model with the adapter added to its weights, or both."""

    ADAPTER = "adapter"
    MERGED = "merged"
    BOTH = "both"


class QuantizedBase(Model):
    """Number format of the frozen base under qlora."""

    bits: Annotated[int, Field(ge=4, le=8)] = Field(4, description="4 or 8.")
    group_size: Annotated[int, Field(ge=8, le=1024)] = Field(64, description="Weights that share a scale.")


class Peft(Model):
    """Low-rank adapters on the layers of a frozen causal-lm."""

    cel: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.method == 'qlora' || !has(self.quantizeBase)",
            "quantizeBase is for method qlora: remove it",
            lambda peft: peft.method is PeftMethod.QLORA or peft.quantize_base is None,
        ),
        Rule(
            "!has(self.quantizeBase) || self.quantizeBase.bits in [4, 8]",
            "quantizeBase.bits is 4 or 8",
            lambda peft: peft.quantize_base is None or peft.quantize_base.bits in {4, 8},
        ),
    )
    method: PeftMethod = Field(PeftMethod.LORA, description="lora, or qlora: the base in few bits.")
    r: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Rank of the two factors.")
    lora_alpha: Annotated[float, Field(gt=0, le=65536)] = Field(16.0, description="The update is scaled by alpha / r.")
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="Of an adapter's input.")
    target_modules: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(max_length=32)] = Field(
        default_factory=list,
        description="Layers by the ends of their names; all linear ones but the output when empty.",
    )
    use_rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (Kalajdzievski 2023).")
    quantize_base: QuantizedBase | None = Field(None, description="qlora: of the base; 4 bits in groups of 64.")


def _language(recipe: Any) -> bool:
    return bool(recipe.model.name == "causal-lm")


RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.peft) || self.model.name == 'causal-lm'",
        "peft is for model causal-lm: remove it",
        lambda recipe: recipe.peft is None or _language(recipe),
    ),
    Rule(
        "(self.model.name == 'causal-lm') == (self.dataset.name in ['sft', 'preference'])",
        "model causal-lm is tuned on data sets sft and preference, and nothing else is: set both or neither",
        lambda recipe: _language(recipe) == (recipe.dataset.name in {"sft", "preference"}),
    ),
    Rule(
        "self.model.name != 'causal-lm' || !(has(self.compression) || has(self.distillation))",
        "compression and distillation are not for causal-lm: remove them; a QuantizationJob makes it light",
        lambda recipe: not _language(recipe) or not (recipe.compression or recipe.distillation),
    ),
)
MERGE_NEEDS_PEFT = Rule(
    "!has(self.output) || !has(self.output.merge) || (has(self.recipe) && has(self.recipe.peft))",
    "output.merge is of an adapter, recipe.peft: remove it",
    lambda spec: (
        spec.output is None or spec.output.merge is None or (spec.recipe is not None and bool(spec.recipe.peft))
    ),
)
