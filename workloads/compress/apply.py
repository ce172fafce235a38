"""Compression of a model by a job's steps: a smaller model, its shape for artifact.json, and masks of pruned weights.

Those weights are to stay zero. Called by the trainer before training, and by the quantizer's stage compress.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from slipway.api.common.artifact import LayerChange
from slipway.api.training.compression import SPARSE, CompressionStep, Method
from workloads.compress import masks
from workloads.compress.low_rank import low_rank
from workloads.compress.magnitude import magnitude
from workloads.compress.masks import Masks
from workloads.compress.sparsity_2_4 import two_four
from workloads.compress.structured_pruning import channels
from workloads.errors import BadInput
from workloads.models.compressed import rebuilt, same_shapes


@dataclass
class CompressionResult:
    """Result of compression: `model` is the one that was given, changed in place. `words`: a sentence for each step."""

    model: nn.Module
    changes: list[LayerChange] = field(default_factory=list)
    kept: Masks = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


def compress(model: nn.Module, steps: Sequence[CompressionStep], example: torch.Tensor) -> CompressionResult:
    """Apply all steps in their order. `example`: an input of the model, a batch of one, for those that trace it.

    BadInput, in words, for a step that does not fit the model.
    """
    designed = copy.deepcopy(model)
    made = CompressionResult(model)
    for step in steps:
        words = _sparse(made, step) if step.method in SPARSE else _smaller(made, step, example)
        made.words.append(words)
    # Own models may have parameters outside the layers that can be described: better now than when it is loaded.
    if made.changes and not same_shapes(rebuilt(designed, made.changes), model):
        raise BadInput("the smaller model cannot be described by the widths of its layers: exclude the unusual ones")
    return made


def _sparse(made: CompressionResult, step: CompressionStep) -> str:
    how: Callable[[nn.Module, CompressionStep], tuple[Masks, str]]
    how = magnitude if step.method is Method.MAGNITUDE else two_four
    kept, words = how(made.model, step)
    made.kept = masks.both(made.kept, kept)
    return words


def _smaller(made: CompressionResult, step: CompressionStep, example: torch.Tensor) -> str:
    if step.method is Method.LOW_RANK:
        changes, words = low_rank(made.model, step)
    else:
        changes, words = channels(made.model, step, example)
    made.changes += changes
    return words
