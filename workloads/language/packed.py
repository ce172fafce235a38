"""Weights in few bits in compressed-tensors' format pack-quantized, which vLLM and transformers read without a flag.

A matrix `NAME.weight` becomes `NAME.weight_packed`, int32 with 32 / bits numbers in each, the lowest bits first,
counted from -2^(bits-1); `weight_scale` for each group of inputs, `weight_zero_point` packed along the outputs where
weights are not symmetric, and `weight_shape`. A weight is (number - zero) * scale. GPT-2's matrices, which it keeps as
[inputs, outputs], are packed as [outputs, inputs]; no library of that format knows them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from slipway.api.common.language import WeightQuantization
from workloads.errors import BadInput, Corrupt
from workloads.language import float8
from workloads.language.config import checked
from workloads.language.float8 import Float8Shards
from workloads.language.linear import SWAPPED
from workloads.language.shards import Shards

FORMAT, METHOD = "pack-quantized", "compressed-tensors"
PARTS = ("weight_packed", "weight_scale", "weight_zero_point", "weight_shape")
WORD = 32
LINEAR = "Linear"


@dataclass(frozen=True)
class Codes:
    """A matrix in whole numbers: int8 [outputs, inputs], scales and zeros [outputs, groups]; zeros None: symmetric."""

    numbers: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor | None
    bits: int

    def matrix(self) -> torch.Tensor:
        """The weights that the numbers stand for, float32 [outputs, inputs]."""
        outputs, inputs = self.numbers.shape
        groups = self.numbers.float().reshape(outputs, self.scales.shape[1], -1)
        if self.zeros is not None:
            groups = groups - self.zeros.float()[..., None]
        found: torch.Tensor = (groups * self.scales.float()[..., None]).reshape(outputs, inputs)
        return found

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """Tensors of the file for the matrix of the layer `name`."""
        found = {
            f"{name}.weight_packed": pack(self.numbers, self.bits),
            f"{name}.weight_scale": self.scales.contiguous(),
            f"{name}.weight_shape": torch.tensor(self.numbers.shape, dtype=torch.int64),
        }
        if self.zeros is not None:
            found[f"{name}.weight_zero_point"] = pack(self.zeros.t().contiguous(), self.bits).t().contiguous()
        return found


def pack(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack int8 [rows, columns] into int32 [rows, columns / (32 / bits), rounded up]."""
    each = WORD // bits
    rows, columns = numbers.shape
    padded = torch.zeros(rows, -(-columns // each) * each, dtype=torch.int64)
    padded[:, :columns] = numbers.to(torch.int64) + 2 ** (bits - 1)
    shifts = torch.arange(each, dtype=torch.int64) * bits
    words = (padded.reshape(rows, -1, each) << shifts).sum(-1)
    return torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)


def unpack(words: torch.Tensor, bits: int, columns: int) -> torch.Tensor:
    """The inverse of `pack`."""
    shifts = torch.arange(WORD // bits, dtype=torch.int64) * bits
    numbers = (words.to(torch.int64)[..., None] >> shifts) & (2**bits - 1)
    found: torch.Tensor = numbers.flatten(-2)[:, :columns] - 2 ** (bits - 1)
    return found.to(torch.int8)


def configuration(
    bits: int,
    group_size: int,
    *,
    symmetric: bool,
    ignored: list[str],
    wider: Sequence[str] = (),
    kind: str = LINEAR,
) -> dict[str, Any]:
    """quantization_config of config.json. `wider`: layers that have 8 bits, `kind`: the class of the others."""

    def group(width: int, targets: list[str]) -> dict[str, Any]:
        weights = {
            "num_bits": width,
            "type": "int",
            "symmetric": symmetric,
            "strategy": "group",
            "group_size": group_size,
            "dynamic": False,
            "observer": "minmax",
        }
        return {"targets": targets, "weights": weights, "input_activations": None, "output_activations": None}

    groups = {"group_0": group(bits, [kind])}
    if wider:
        groups["group_1"] = group(8, sorted(wider))
    return {
        "quant_method": METHOD,
        "format": FORMAT,
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": ignored,
        "kv_cache_scheme": None,
    }


def settings_of(config: Mapping[str, Any], folder: Path) -> WeightQuantization | None:
    """Storage of a folder's weights; None for floats. BadInput for another format."""
    said = config.get("quantization_config")
    if said is None:
        return None
    if float8.is_float8(config):
        return WeightQuantization(method=METHOD, bits=8, symmetric=True, excluded=list(said.get("ignore") or ()))
    try:
        group, *others = said["config_groups"].values()
        weights = group["weights"]
        same = {**weights, "num_bits": 8}
        if [one["weights"] for one in others] not in ([], [same]) or group["targets"] not in ([LINEAR], [SWAPPED]):
            raise ValueError("groups of other kinds than 4 and 8 bits of linear layers")
        plain = (said["quant_method"], said["format"], weights["type"], weights["strategy"])
        found = WeightQuantization(
            method=METHOD,
            bits=weights["num_bits"],
            group_size=weights["group_size"],
            symmetric=weights["symmetric"],
            excluded=list(said["ignore"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{folder}: a quantization_config that is not read here ({error})") from error
    if plain != (METHOD, FORMAT, "int", "group") or group.get("input_activations"):
        raise BadInput(f"{folder}: weights in {plain}: {METHOD} {FORMAT} of whole numbers in groups is what is read")
    return found


class PackedShards:
    """Tensors of a quantized folder by the names that they had as floats, computed as they are asked for."""

    def __init__(self, folder: Path, settings: WeightQuantization, config: Mapping[str, Any]) -> None:
        """Corrupt where a matrix lacks a part. `config`: quantization_config."""
        group, *others = config["config_groups"].values()
        self._wider = {name for one in others for name in one["targets"]}
        self._swapped = group["targets"] == [SWAPPED]
        self._shards, self._settings, self.folder = Shards(folder), settings, folder
        names = set(self._shards)
        self._matrices = {name.removesuffix("_packed") for name in names if name.endswith(".weight_packed")}
        parts = {f"{name.rpartition('.')[0]}.{part}" for name in self._matrices for part in PARTS}
        if settings.symmetric:
            parts = {part for part in parts if not part.endswith("zero_point")}
        lost = parts - names
        if lost:
            raise Corrupt(f"{folder}: {min(lost)} is missing")
        self._plain = names - parts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._plain | self._matrices))

    def codes(self, name: str) -> Codes:
        """A quantized matrix as it is kept. Corrupt for parts of the wrong shapes or scales that are no numbers."""
        layer = name.removesuffix(".weight")
        bits = 8 if layer in self._wider else self._settings.bits
        rows, columns = self._shards.tensor(f"{layer}.weight_shape").tolist()
        words, scales = (self._shards.tensor(f"{layer}.{part}") for part in PARTS[:2])
        groups = columns // (self._settings.group_size or columns)
        if list(scales.shape) != [rows, groups] or not bool(scales.isfinite().all()):
            raise Corrupt(f"{self.folder}: the scales of {layer} are {list(scales.shape)}, expected {[rows, groups]}")
        if list(words.shape) != [rows, -(-columns // (WORD // bits))]:
            raise Corrupt(f"{self.folder}: the packed weights of {layer} have the shape {list(words.shape)}")
        zeros = None
        if not self._settings.symmetric:
            packed = self._shards.tensor(f"{layer}.weight_zero_point")
            zeros = unpack(packed.t().contiguous(), bits, rows).t().contiguous()
        return Codes(unpack(words, bits, columns), scales, zeros, bits)

    def kept(self, name: str) -> Codes | torch.Tensor:
        """One tensor as it is kept."""
        return self.codes(name) if name in self._matrices else self._shards.tensor(name)

    def tensor(self, name: str) -> torch.Tensor:
        """One tensor in floats."""
        if name not in self._matrices:
            return self._shards.tensor(name)
        found = self.codes(name).matrix()
        return found.t().contiguous() if self._swapped else found


def opened(folder: Path) -> Shards | PackedShards | Float8Shards:
    """Tensors of a model's folder as floats, whichever way they are kept."""
    config = checked(folder)
    settings = settings_of(config, folder)
    if float8.is_float8(config):
        return Float8Shards(folder)
    return Shards(folder) if settings is None else PackedShards(folder, settings, config["quantization_config"])
