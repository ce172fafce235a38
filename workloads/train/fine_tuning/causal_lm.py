"""A causal language model as the loop trains it: whole, or frozen with low-rank adapters by peft.

Its state is what is trained: of adapters their tensors alone, so that checkpoints and kept weights are small whatever
the size of the base. The base comes from its folder each time.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slipway.api.training.fine_tuning.peft import ALL_LINEAR, Peft, PeftMethod, QuantizedBase
from slipway.api.training.recipe import Recipe
from workloads.errors import BadInput
from workloads.language import adapters, artifacts, weights
from workloads.train.fine_tuning.quantized_base import quantize

if TYPE_CHECKING:
    from workloads.language.artifacts import LanguageArtifact

PREFIX = "model."  # of the names of a model that is trained whole
NAME = "causal-lm"


class CausalLM(nn.Module):
    """Takes int64 [n, 3, length], tokens, segments and places, as data.texts.packing has them; returns logits."""

    def __init__(self, model: nn.Module, *, adapted: bool) -> None:
        super().__init__()
        self.model, self.adapted = model, adapted
        if adapted:
            self.register_state_dict_post_hook(_without_frozen)  # type: ignore[no-untyped-call]
            self.register_load_state_dict_post_hook(_miss_no_frozen)  # type: ignore[no-untyped-call]

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits [n, length, vocabulary]; a token sees those before it in its own segment."""
        tokens, segments, places = inputs.unbind(1)
        same = segments[:, :, None] == segments[:, None, :]
        length = tokens.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()
        found = self.model(
            input_ids=tokens, position_ids=places, attention_mask=(same & before)[:, None], use_cache=False
        )
        return found.logits  # type: ignore[no-any-return]


def _without_frozen(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    trained = {prefix + name for name, one in module.named_parameters() if one.requires_grad}
    for name in [name for name in state if name not in trained]:
        del state[name]


def _miss_no_frozen(module: nn.Module, keys: Any) -> None:
    trained = {name for name, one in module.named_parameters() if one.requires_grad}
    keys.missing_keys[:] = [name for name in keys.missing_keys if name in trained]


def base_of(recipe: Recipe) -> "LanguageArtifact":
    """The model that is tuned, every file verified. BadInput for a quantized one or an adapter."""
    base = artifacts.read(str(recipe.model.uri), recipe.model.digest)
    if base.kind.value != NAME or (base.language is not None and base.language.quantization is not None):
        raise BadInput(f"{recipe.model.uri}: a {base.kind.value} that cannot be tuned: name the model it was made from")
    return base


def build(recipe: Recipe, folder: Path) -> CausalLM:
    """The model to be trained. BadInput for adapters on layers that the base has not."""
    model = weights.load(folder)
    model.config.use_cache = False  # type: ignore[union-attr]
    if recipe.peft is None:
        return CausalLM(model.train(), adapted=False)
    if recipe.peft.method is PeftMethod.QLORA:
        quantize(model, recipe.peft.quantize_base or QuantizedBase())
    return CausalLM(with_adapters(model, recipe.peft, recipe.seed).train(), adapted=True)


def with_adapters(model: nn.Module, wanted: Peft, seed: int) -> nn.Module:
    """The frozen model with new adapters, by the seed alone. BadInput where no layer has such a name."""
    peft = adapters.library()
    settings = peft.LoraConfig(
        r=wanted.r,
        lora_alpha=wanted.lora_alpha if wanted.lora_alpha % 1 else int(wanted.lora_alpha),
        lora_dropout=wanted.lora_dropout,
        target_modules=list(wanted.target_modules) or ALL_LINEAR,
        use_rslora=wanted.use_rslora,
        task_type="CAUSAL_LM",
        bias="none",
    )
    endings = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    lost = [name for name in wanted.target_modules if name.rpartition(".")[2] not in endings]
    if lost:
        raise BadInput(
            f"recipe.peft.targetModules: the model has no layer {lost[0]}; it has {', '.join(sorted(endings - {''}))}"
        )
    torch.manual_seed(seed)
    try:
        made: nn.Module = peft.get_peft_model(model, settings)
    except ValueError as error:
        raise BadInput(f"recipe.peft: {error}") from error
    return made


def arguments(base: "LanguageArtifact", recipe: Recipe) -> dict[str, bool | int | float | str]:
    """Identity that a checkpoint must have been made for: the base by digest, and the adapters' sizes."""
    found: dict[str, bool | int | float | str] = {"base": base.digest}
    if recipe.peft is not None:
        found |= {
            "method": recipe.peft.method.value,
            "r": recipe.peft.r,
            "loraAlpha": recipe.peft.lora_alpha,
            "targetModules": ",".join(sorted(recipe.peft.target_modules)) or ALL_LINEAR,
        }
        if recipe.peft.method is PeftMethod.QLORA:
            chosen = recipe.peft.quantize_base or QuantizedBase()
            found |= {"bits": chosen.bits, "groupSize": chosen.group_size}
    return found


def plain_names(trained: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a model that was trained whole, by its own names."""
    return {name.removeprefix(PREFIX): tensor for name, tensor in trained.items()}
