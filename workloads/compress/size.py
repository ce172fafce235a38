"""Size of a model and FLOPs of one sample, for the figures before and after compression."""

from typing import Any

import torch
from safetensors.torch import save
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from workloads.compress.magnitude import zeros_of
from workloads.measure import timing

ROUNDS, WARMUP = 40, 5


def figures(model: nn.Module, example: torch.Tensor) -> dict[str, Any]:
    """Parameters, how many of them are zero, FLOPs of one sample, bytes of its weights as a file.

    FLOPs are those of products and convolutions, two for a multiplication with its addition; zeros count like others.
    """
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "zeros": zeros_of(model),
        "flops": flops(model, example),
        "sizeBytes": len(save({name: tensor.clone() for name, tensor in model.state_dict().items()})),
    }


def flops(model: nn.Module, example: torch.Tensor) -> int:
    """FLOPs of one sample, counted by torch while the model runs once. `example`: a batch of one."""
    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(example)
    model.train(training)
    return int(counter.get_total_flops())


def latencies(models: list[nn.Module], example: torch.Tensor, rounds: int = ROUNDS) -> list[float]:
    """Median milliseconds of one call of each, measured in turns by torch on this machine, as it is loaded now."""
    for model in models:
        model.eval()
    with torch.inference_mode():
        calls = [lambda model=model: model(example) for model in models]
        seconds = timing.in_turns(calls, rounds=rounds, warmup=WARMUP)
    return [timing.figures(row, len(example))["p50Ms"] for row in seconds]
