"""Rules of recipe and spec on models that several processes hold between them (tensorParallel, pipelineParallel)."""

from typing import Any

from slipway.api.common.base import Rule

_ALONE = "self.tensorParallel * self.pipelineParallel == 1"


def _alone(recipe: Any) -> bool:
    return bool(recipe.together == 1)


TOGETHER: tuple[Rule, ...] = (
    Rule(
        "self.tensorParallel == 1 || self.pipelineParallel == 1",
        "tensorParallel and pipelineParallel are two ways to spread a model: leave one of them at 1",
        lambda recipe: 1 in (recipe.tensor_parallel, recipe.pipeline_parallel),
    ),
    Rule(
        f"{_ALONE} || self.model.name.matches('^(gpt2.*|custom)$')",
        "tensorParallel and pipelineParallel are for models of the GPT-2 family: remove them, and set "
        "strategy.name: FSDP2, which spreads any model",
        lambda recipe: _alone(recipe) or recipe.model.name.startswith(("gpt2", "custom")),
    ),
    Rule(
        f"{_ALONE} || (self.precision != 'fp16' && !self.compile)",
        "tensorParallel and pipelineParallel go with precision fp32 or bf16, and without compile",
        lambda recipe: _alone(recipe) or (recipe.precision != "fp16" and not recipe.compile),
    ),
    Rule(
        f"{_ALONE} || !has(self.compression)",
        "compression needs the whole model in each process: remove it, or tensorParallel and pipelineParallel",
        lambda recipe: _alone(recipe) or not recipe.compression,
    ),
)
OWN_WAY = Rule(
    "!has(self.recipe) || self.recipe.tensorParallel * self.recipe.pipelineParallel == 1"
    " || (!has(self.strategy) && !(self.launcher in ['deepspeed', 'horovodrun']))",
    "recipe.tensorParallel and pipelineParallel spread the model: remove strategy, and use torchrun or mpirun",
    lambda spec: (
        spec.recipe is None
        or _alone(spec.recipe)
        or (spec.strategy is None and spec.launcher not in ("deepspeed", "horovodrun"))
    ),
)
