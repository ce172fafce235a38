"""Weights in 8-bit floats in compressed-tensors' format float-quantized: llm-compressor's scheme FP8_DYNAMIC.

A matrix is float8_e4m3fn with a scale for each output; inputs are rounded too, by the engine, with a scale for each
token (Micikevicius et al. 2022, arXiv:2209.05433). vLLM reads it on GPUs of compute capability 8.9 and up.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from workloads.errors import Corrupt
from workloads.language import linear
from workloads.language.shards import Shards

FORMAT = "float-quantized"
KIND = torch.float8_e4m3fn
LARGEST = float(torch.finfo(KIND).max)  # 448
_SCALE = ".weight_scale"


def rounded(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in 8-bit floats, and a scale for each, [..., 1]; a row of zeros has scale 1."""
    scale = values.abs().amax(-1, keepdim=True).float() / LARGEST
    scale = torch.where(scale == 0, 1.0, scale)
    return (values / scale).clamp(-LARGEST, LARGEST).to(KIND), scale


def tensors(weight: torch.Tensor, name: str, kept: torch.dtype) -> dict[str, torch.Tensor]:
    """Tensors of the file for a matrix [outputs, inputs] of the layer `name`."""
    scale = rounded(weight)[1].to(kept)
    numbers = (weight / scale.float()).clamp(-LARGEST, LARGEST).to(KIND)
    return {f"{name}.weight": numbers.contiguous(), f"{name}{_SCALE}": scale.contiguous()}


def configuration(ignored: list[str]) -> dict[str, Any]:
    """quantization_config of config.json."""
    number = {"num_bits": 8, "type": "float", "symmetric": True}
    group = {
        "targets": ["Linear"],
        "weights": {**number, "strategy": "channel", "dynamic": False, "observer": "minmax"},
        "input_activations": {**number, "strategy": "token", "dynamic": True, "observer": None},
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": FORMAT,
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ignored,
        "kv_cache_scheme": None,
    }


def is_float8(config: Mapping[str, Any]) -> bool:
    """Tell whether a config.json is that of a model in 8-bit floats."""
    said = config.get("quantization_config")
    return isinstance(said, dict) and said.get("format") == FORMAT


class Float8Shards:
    """Tensors of a folder in 8-bit floats by the names that they had before, as floats."""

    def __init__(self, folder: Path) -> None:
        self._shards = Shards(folder)
        self._names = set(self._shards)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(name for name in self._names if not name.endswith(_SCALE)))

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor in floats. Corrupt for 8-bit floats without a scale."""
        found = self._shards.tensor(name)
        if found.dtype is not KIND:
            return found
        scale = f"{name.removesuffix('.weight')}{_SCALE}"
        if scale not in self._names:
            raise Corrupt(f"{self._shards.folder}: {name} has no scale")
        return found.float() * self._shards.tensor(scale).float()


def round_inputs(layer: nn.Module, prefix: str, ignored: list[str]) -> None:
    """Let a layer's linear parts round their inputs, token by token, as the engine will."""

    def rounding(_: nn.Module, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        numbers, scale = rounded(given[0])
        return (numbers.float() * scale, *given[1:])

    for name, part in linear.parts(layer):
        if prefix + name not in ignored:
            part.register_forward_pre_hook(rounding)
