"""How much memory does one process of a real training run hold at its peak? Run on every rank by test_memory_model.py.

What is counted is address space that was asked for, as a GPU's allocator counts, touched or not. The C library is told
to take each tensor from the kernel and to give it back when it is freed: so the process's size follows its tensors.
"""

from __future__ import annotations

import ctypes
import gc
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.training.memory import StrategyName

# malloc.h: blocks from this size on are mapped one by one; many of them; one arena for all threads; trimmed at once.
MALLOPT = {-3: 1 << 16, -4: 10**6, -8: 1, -1: 1 << 16}

# Elements of DeepSpeed's bucket: its default takes 2 GB, beside which nothing else would be seen.
BUCKET = 10**7


@dataclass(frozen=True)
class Shape:
    """Of a GPT-2: layers, width, tokens of a sample, samples of a pass, vocabulary."""

    layers: int
    hidden: int
    sequence: int
    samples: int
    vocabulary: int = 4096


def peak(name: str, precision: str, shape: Shape, steps: int) -> list[int]:
    """Bytes that the process grew by at its peak, and parameters of the model: some steps of a strategy of ours."""
    libc = ctypes.CDLL("libc.so.6")
    for option, value in MALLOPT.items():
        assert libc.mallopt(option, value) == 1
    import torch
    from torch.nn.functional import cross_entropy

    from workloads.pod.environment import read_place

    torch.set_num_threads(1)
    strategy, place = strategy_of(StrategyName(name), precision, shape), read_place(os.environ)
    strategy.setup(place)
    _warm_up()
    gc.collect()
    before = _kernel("VmSize")
    model = _model(shape)
    count = sum(parameter.numel() for parameter in model.parameters())
    strategy.wrap(model)
    del model
    for group in strategy.optimizer.param_groups:
        # As it is on GPUs unless told otherwise: all tensors at once, for which intermediates of their size are kept.
        group["foreach"] = True
    for _ in range(steps):
        tokens = torch.randint(0, shape.vocabulary, (shape.samples, shape.sequence))
        loss = cross_entropy(strategy.forward(tokens).float().flatten(0, 1), tokens.flatten())
        strategy.backward(loss, last=True)
        del loss
        strategy.step(0.001)
    return [_kernel("VmPeak") - before, count]


def moved(name: str, shape: Shape) -> list[int]:
    """The most elements of parameters that went to the device at a time while a strategy took the model, and all."""
    import torch
    from torch import nn

    from workloads.pod.environment import read_place

    strategy = strategy_of(StrategyName(name), "fp32", shape)
    strategy.setup(read_place(os.environ))
    model, whole, most = _model(shape), nn.Module.to, [0]

    def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        if any(isinstance(one, torch.device | str) for one in (*arguments, *named.values())):
            most[0] = max(most[0], sum(one.numel() for one in self.parameters() if not hasattr(one, "to_local")))
        return whole(self, *arguments, **named)

    nn.Module.to = counted  # type: ignore[method-assign]
    count = sum(parameter.numel() for parameter in model.parameters())
    strategy.wrap(model)
    return [most[0], count]


def startup_peak(name: str, precision: str, shape: Shape, bucket: int = BUCKET) -> list[int]:
    """Bytes that the process grew by at its peak until the model was in place: asked for, and resident; parameters."""
    libc = ctypes.CDLL("libc.so.6")
    for option, value in MALLOPT.items():
        assert libc.mallopt(option, value) == 1
    import torch

    from workloads.models.empty import parameters_without_memory
    from workloads.pod.environment import read_place
    from workloads.train.initial_values import of_node

    torch.set_num_threads(1)
    strategy = strategy_of(StrategyName(name), precision, shape, bucket)
    world = strategy.setup(read_place(os.environ))
    _warm_up()
    gc.collect()
    before, resident = _kernel("VmSize"), _kernel("VmHWM")
    if strategy.cuts:
        with parameters_without_memory():
            model = _model(shape)
        values = of_node(world, model, lambda: _model(shape))
        assert values is not None
    else:
        model, values = _model(shape), None
    count = sum(parameter.numel() for parameter in model.parameters())
    strategy.wrap(model, values)
    return [_kernel("VmPeak") - before, _kernel("VmHWM") - resident, count]


def strategy_of(name: StrategyName, precision: str, shape: Shape, bucket: int = BUCKET) -> Any:
    """As the trainer makes it."""
    from slipway.api.training.recipe import Recipe

    world = int(os.environ["WORLD_SIZE"])
    fields = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "optimizer": {"name": "adamw"}}
    recipe = Recipe.model_validate({**fields, "globalBatchSize": shape.samples * world, "precision": precision})
    if name is StrategyName.DDP:
        from workloads.train.strategies.ddp import DataParallel

        return DataParallel(recipe)
    if name is StrategyName.FSDP2:
        from workloads.train.strategies.fsdp import FullyShard

        return FullyShard(recipe)
    return _zero(name, recipe, shape.samples, world, bucket)


def _zero(name: StrategyName, recipe: Any, samples: int, world: int, bucket: int = BUCKET) -> Any:
    from slipway.api.training.deepspeed import render
    from slipway.api.training.launchers import DeepSpeed
    from workloads.train.strategies.zero import Zero

    config = render(DeepSpeed(), recipe, name)
    config["zero_optimization"]["reduce_bucket_size"] = bucket
    config |= {
        "train_batch_size": samples * world,
        "train_micro_batch_size_per_gpu": samples,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }
    return Zero(recipe, config)


def _model(shape: Shape) -> Any:
    """As GPUs' kernels have it: GELU in one piece; no dropout, for which a CPU would keep attention's scores."""
    from torch import nn

    from workloads.models.transformer import LanguageModel

    model = LanguageModel(shape.vocabulary, shape.sequence, shape.layers, shape.hidden, shape.hidden // 64)
    for block in model.transformer.h:
        block.mlp.act = nn.GELU(approximate="tanh")
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def _warm_up() -> None:
    """What libraries keep for themselves from their first use on is not the model's."""
    import torch

    small = _model(Shape(1, 64, 16, 1, 64))
    small(torch.zeros(1, 16, dtype=torch.long)).sum().backward()


def _kernel(field: str) -> int:
    """Of this process, in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024
