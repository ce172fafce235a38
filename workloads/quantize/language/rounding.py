"""Matrices in few bits: round to nearest in groups, and GPTQ, which makes up for each column's error in the next.

GPTQ: Frantar et al. 2022 (arXiv:2210.17323), algorithm 1, with the scales of a group fixed before its first column is
rounded. Columns are taken in their own order. Pure.
"""

from dataclasses import dataclass

import torch

from workloads.language.packed import Codes

DAMP = 0.01  # of the mean diagonal, section 3.3


@dataclass(frozen=True)
class Scheme:
    """Storage of weights: bits of one, inputs that share a scale, and the number format of scales."""

    bits: int
    size: int
    symmetric: bool
    kept: torch.dtype = torch.float32

    @property
    def low(self) -> int:
        """The least whole number."""
        return -(1 << (self.bits - 1))

    @property
    def high(self) -> int:
        """The largest whole number."""
        return (1 << (self.bits - 1)) - 1


def scales_of(groups: torch.Tensor, scheme: Scheme) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Scales and zeros [outputs, groups] of weights [outputs, groups, size]; a group of zeros has scale 1."""
    if scheme.symmetric:
        scale = (groups.abs().amax(-1) / scheme.high).to(scheme.kept).float()
        return torch.where(scale == 0, 1.0, scale), None
    low, high = groups.amin(-1).clamp(max=0), groups.amax(-1).clamp(min=0)
    scale = ((high - low) / (scheme.high - scheme.low)).to(scheme.kept).float()
    scale = torch.where(scale == 0, 1.0, scale)
    zeros = (-low / scale).round() + scheme.low
    return scale, zeros.clamp(scheme.low, scheme.high).to(torch.int8)


def nearest(weight: torch.Tensor, scheme: Scheme) -> Codes:
    """Round float32 [outputs, inputs] to the nearest."""
    groups = weight.reshape(len(weight), -1, scheme.size)
    scales, zeros = scales_of(groups, scheme)
    offset = 0.0 if zeros is None else zeros.float()[..., None]
    numbers = (groups / scales[..., None] + offset).round().clamp(scheme.low, scheme.high)
    return Codes(numbers.reshape(weight.shape).to(torch.int8), scales, zeros, scheme.bits)


def factor_of(moments: torch.Tensor) -> torch.Tensor:
    """Upper Cholesky factor of the inverse of damped second moments, float32 [inputs, inputs]."""
    moments = moments.double().clone()
    dead = moments.diagonal() == 0
    moments[dead, dead] = 1.0
    moments += torch.eye(len(moments), dtype=torch.float64) * DAMP * moments.diagonal().mean()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    found: torch.Tensor = torch.linalg.cholesky(inverse, upper=True).float()
    return found


def gptq(weight: torch.Tensor, moments: torch.Tensor, scheme: Scheme) -> Codes:
    """Round with the inputs' second moments [inputs, inputs], the sum of x x^T over the calibration's tokens."""
    weight, count, size = weight.clone(), weight.shape[1], scheme.size
    factor = factor_of(moments)
    numbers = torch.zeros(weight.shape, dtype=torch.int8)
    scales, zeros = [], []
    for start in range(0, count, size):
        block = weight[:, start : start + size]
        scale, zero = scales_of(block[:, None], scheme)
        scales.append(scale)
        zeros += [] if zero is None else [zero]
        offset = torch.zeros(len(weight)) if zero is None else zero[:, 0].float()
        errors = torch.zeros_like(block)
        for place in range(block.shape[1]):
            column, at = block[:, place], start + place
            number = (column / scale[:, 0] + offset).round().clamp(scheme.low, scheme.high)
            numbers[:, at] = number.to(torch.int8)
            error = (column - (number - offset) * scale[:, 0]) / factor[at, at]
            block[:, place + 1 :] -= error[:, None] * factor[at, at + 1 : start + size]
            errors[:, place] = error
        weight[:, start + size :] -= errors @ factor[start : start + size, start + size :]
    return Codes(numbers, torch.cat(scales, 1), torch.cat(zeros, 1) if zeros else None, scheme.bits)
