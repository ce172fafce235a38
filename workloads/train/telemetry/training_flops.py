"""FLOPs of a sample in training. Counted once, before the model is spread; for MFU.

Matrix products and convolutions of the forward pass as torch.utils.flop_counter counts them, on tensors that have a
shape and no memory; times three, because the backward pass has two products for each (Kaplan et al. 2020, section 2.1).
What activation checkpointing computes twice counts once: MFU is of the model's FLOPs (Chowdhery et al. 2022, PaLM,
appendix B).
"""

import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

PASSES = 3  # one forward, two backward


def of_sample(model: nn.Module, inputs: torch.Tensor) -> int | None:
    """FLOPs of one sample. `inputs`: some samples, at least two, because batch norm trains on no fewer.

    None for a model that looks at its numbers while it runs (`if x.sum() > 0`): without memory there are none.
    """
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    try:
        with torch.no_grad(), FakeTensorMode() as fake, FlopCounterMode(display=False) as counter:
            shapes = {name: torch.empty(one.shape, dtype=one.dtype, device="cpu") for name, one in state.items()}
            functional_call(model, shapes, (fake.from_tensor(inputs.cpu()),))
    except (RuntimeError, NotImplementedError, TypeError, DataDependentOutputException):
        return None
    return PASSES * int(counter.get_total_flops()) // len(inputs)
