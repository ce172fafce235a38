"""Stage of a GPT-2 in a pipeline: the layers that one process holds. Used by pipeline_parallel.py."""

from typing import Any

import torch
from torch import nn

from workloads.errors import BadInput
from workloads.models.transformer import LanguageModel
from workloads.train.optimisation import NumberFormat

EMBEDDING = "transformer.wte.weight"


class Stage(nn.Module):
    """Stage `index` of `count`. Its parameters have the names that they have in the whole model.

    The first takes tokens int64 [n, tokens], the last gives logits [n, tokens, vocabulary], hidden states float32
    [n, tokens, width] go between. The embedding, which is the output layer as well, is held by first and last.
    """

    def __init__(self, whole: LanguageModel, index: int, count: int, numbers: NumberFormat) -> None:
        super().__init__()
        body = whole.transformer
        layers = len(body.h)
        self.first, self.last = index == 0, index == count - 1
        self.config = body.config
        own: Any = nn.Module()
        if self.first or self.last:
            own.wte = body.wte
        if self.first:
            own.wpe, own.drop = body.wpe, body.drop
        # A dict, since a list would count its layers from 0.
        span = range(index * layers // count, (index + 1) * layers // count)
        own.h = nn.ModuleDict({str(number): body.h[number] for number in span})
        if self.last:
            own.ln_f, self.output = body.ln_f, whole.output
        self.transformer = own
        self._numbers = numbers

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Outputs of this stage's layers, under the recipe's precision."""
        from transformers.masking_utils import create_causal_mask

        own = self.transformer
        with self._numbers.autocast():
            if self.first:
                places = torch.arange(given.shape[1], device=given.device)[None]
                given = own.drop(own.wte(given) + own.wpe(places))
            mask = create_causal_mask(
                config=self.config, inputs_embeds=given, attention_mask=None, past_key_values=None
            )
            for block in own.h.values():
                given = block(given, None, mask)
            found: torch.Tensor = self.output(own.ln_f(given), own.wte.weight) if self.last else given
            return found


def check(model: nn.Module, count: int) -> LanguageModel:
    """BadInput for a model that cannot be cut into so many stages."""
    if not isinstance(model, LanguageModel):
        raise BadInput(f"recipe.pipelineParallel cuts models of the GPT-2 family, this is a {type(model).__name__}")
    layers = len(model.transformer.h)
    if layers < count:
        raise BadInput(f"recipe.pipelineParallel {count} is more than the model's {layers} layers")
    return model
