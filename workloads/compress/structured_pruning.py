"""Structured pruning: whole channels are removed, with the normalisation behind them and the inputs of whoever reads
them, so that the graph is really smaller. Torch-pruning's dependency graph finds what belongs together (Fang et al.
2023, DepGraph): shortcuts, depthwise convolutions, a flattened map in front of a linear layer.

Of each layer the channels with the least L2 norm go (Li et al. 2017), the norm being that of all that belongs together.
"""

import warnings

import torch
from torch import nn

from slipway.api.common.artifact import LayerChange
from slipway.api.training.compression import CompressionStep
from workloads import libraries
from workloads.compress import prunable
from workloads.errors import BadInput
from workloads.models.compressed import between, widths

REMEDY = "pip install torch-pruning, or use the image of this release"


def channels(model: nn.Module, step: CompressionStep, example: torch.Tensor) -> tuple[list[LayerChange], str]:
    """Remove `step.ratio` of each layer's channels in place. `example`: an input of the model, a batch of one.

    Returns the layers' new widths, and what was done in words. BadInput for a model without convolutions, one that
    cannot be traced, and for a ratio that leaves a layer without a channel.
    """
    before, ratio = widths(model), float(step.ratio or 0.0)
    if not any(isinstance(module, nn.Conv2d) for module in model.modules()):
        raise BadInput("channels are those of convolutions, and the model has none: use low-rank or magnitude")
    training, last = model.training, prunable.last(model)
    excluded = set(prunable.touchable(model, [])) - set(prunable.touchable(model, step.exclude)) | {last}
    _require_some_left(model, ratio, excluded)
    model.eval().double()  # decisions in float64: the same on every machine
    outputs = _shape(model, example)
    _prune(model, ratio, [model.get_submodule(name) for name in sorted(excluded)], example.double())
    if _shape(model, example) != outputs:
        raise BadInput(f"channels would change what the model answers; exclude the layer that gives it, if not {last}")
    model.float().train(training)
    changes = between(before, widths(model))
    if not changes:
        raise BadInput(f"channels: no layer has a channel to spare at ratio {ratio:g}: raise ratio, or exclude less")
    narrower = sum(1 for change in changes if change.outputs != before[change.layer][1])
    return changes, f"channels: {ratio:.0%} of the channels are removed, {narrower} layers are narrower"


def _prune(model: nn.Module, ratio: float, ignored: list[nn.Module], example: torch.Tensor) -> None:
    library = libraries.optional("torch_pruning", "compression by channels needs torch-pruning", REMEDY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on parameters outside layers, which stay as they are
        try:
            importance = library.importance.GroupMagnitudeImportance(p=2)
            library.pruner.BasePruner(
                model, example, importance=importance, pruning_ratio=ratio, ignored_layers=ignored
            ).step()
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
            raise BadInput(f"channels: what depends on what in this model cannot be traced ({error})") from error


def _require_some_left(model: nn.Module, ratio: float, excluded: set[str]) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and name not in excluded and int(module.out_channels * (1 - ratio)) < 1:
            raise BadInput(
                f"channels: ratio {ratio:g} leaves none of the {module.out_channels} channels of {name}: "
                "lower ratio, or exclude it"
            )


def _shape(model: nn.Module, example: torch.Tensor) -> torch.Size:
    with torch.no_grad():
        answer: torch.Tensor = model(example.double())
    return answer.shape
