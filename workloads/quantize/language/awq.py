"""AWQ: inputs that matter are made larger before rounding, and the layer before them smaller (Lin et al. 2023).

Scales are the mean input magnitude to a power, searched for the least error of the group's outputs (section 3.2,
equation 5). They are folded into the normalisation or the layer that makes the inputs, so the model computes the same.
"""

from collections.abc import Mapping

import torch
from torch import nn

from workloads.language import linear
from workloads.quantize.language.rounding import Scheme, nearest

POWERS = [step / 20 for step in range(20)]

# The layers that share an input, and what makes it.
GROUPS = (
    (("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), "input_layernorm"),
    (("mlp.gate_proj", "mlp.up_proj"), "post_attention_layernorm"),
    (("mlp.down_proj",), "mlp.up_proj"),
    (("attn.c_attn",), "ln_1"),
    (("mlp.c_fc",), "ln_2"),
)


@torch.no_grad()
def fold(layer: nn.Module, inputs: Mapping[str, torch.Tensor], scheme: Scheme) -> None:
    """Fold scales into a decoder layer in place. `inputs`: some of each linear layer's inputs [tokens, inputs]."""
    for names, source in GROUPS:
        if names[0] not in inputs:
            continue
        parts = [layer.get_submodule(name) for name in names]
        seen = inputs[names[0]]
        scale = _searched([linear.matrix(part) for part in parts], seen, scheme)
        maker = layer.get_submodule(source)
        weight: torch.Tensor = maker.weight  # type: ignore[assignment]
        weight.div_(scale if weight.ndim == 1 else scale[:, None])
        if maker._parameters.get("bias") is not None:
            maker.bias.div_(scale)  # type: ignore[operator]
        for part in parts:
            linear.matrix(part).mul_(scale)


def _searched(weights: list[torch.Tensor], seen: torch.Tensor, scheme: Scheme) -> torch.Tensor:
    magnitude = seen.abs().mean(0)
    magnitude = (magnitude / magnitude.mean().clamp(min=1e-12)).clamp(min=1e-4)
    best: tuple[float, torch.Tensor] | None = None
    for power in POWERS:
        scale = magnitude.pow(power)
        scale = scale / (scale.max() * scale.min()).sqrt()
        error = 0.0
        for weight in weights:
            rounded = nearest(weight * scale, scheme).matrix() / scale
            error += float(((seen @ (weight - rounded).t()) ** 2).sum())
        if best is None or error < best[0]:
            best = (error, scale)
    assert best is not None  # noqa: S101 (there are powers)
    return best[1]
