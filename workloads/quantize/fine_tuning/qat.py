"""Quantization-aware training (QAT): training with quantization in the forward pass.

Torchao's PT2E flow, with checkpoints, exported as Q/DQ ONNX.

With plain FakeQuantize (straight-through estimator): the fused one of torchao 0.18 trains with one scale and converts
with another (pytorch/ao#4824), which costs a 3-bit model a third of its accuracy. What is exported is judged like any
other candidate, in the runtime, so nothing here is taken on trust.
"""

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workloads import data, libraries
from workloads.compress import masks
from workloads.errors import BadInput
from workloads.export import from_torch
from workloads.models.from_artifact import load_model
from workloads.pod.cpus import cpu_limit
from workloads.pod.environment import Place, threads
from workloads.quantize.calibration.scale import Levels
from workloads.quantize.context import Context
from workloads.quantize.fine_tuning.loop import Phases, Training

if TYPE_CHECKING:
    import onnx


OPSET = 21  # the first with what the converted graph needs
SMALLEST_SCALE = 2**-12
STATE = "qat/state.safetensors"


def train(context: Context) -> "onnx.ModelProto":
    """Train, convert and export a model. Goes on from the last checkpoint of this job."""
    choice, calibration = context.job.spec.qat, context.job.spec.calibration
    if calibration is None or calibration.dataset is None or context.source.preprocessing is None:
        raise BadInput("training needs a data set with labels: set calibration.dataset")
    torch.set_num_threads(threads(Place(), os.environ, cpu_limit()))
    torch.manual_seed(choice.seed)
    model, description = load_model(*context.trainable)
    teacher, _ = load_model(context.source.uri, context.source.digest)
    dataset = data.load(calibration.dataset)
    example = (torch.zeros(choice.batch_size, *description.signature.inputs[0].shape[1:]),)  # type: ignore[arg-type]
    simulated = _prepared(context, model, example)
    # Weights are symmetric, so what is zero stays zero when it is rounded, too.
    _hold(simulated, masks.zeros(model))
    Training(context, simulated, teacher, dataset, Phases(STATE, "qat", _to_train, _settle, choice.distillation)).run()
    return _exported(simulated, description, example)


def _hold(simulated: nn.Module, kept: masks.Masks) -> None:
    """Keep pruned weights at zero. BadInput when the exported graph has them under other names, or not at all."""
    missing = sorted(set(kept) - {name for name, _ in simulated.named_parameters()})
    if missing:
        raise BadInput(f"qat cannot hold the zeros of {', '.join(missing)}: leave magnitude and two-four out, or qat")
    masks.hold(simulated, kept)


def _axes() -> Any:
    return ({0: torch.export.Dim("batch", min=2, max=65536)},)


def _prepared(context: Context, model: nn.Module, example: tuple[torch.Tensor, ...]) -> nn.Module:
    with libraries.quiet():
        from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e
        from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
            X86InductorQuantizer,
            get_default_x86_inductor_quantization_config,
        )

        default = get_default_x86_inductor_quantization_config(is_qat=True)
        config = dataclasses.replace(
            default,
            input_activation=_activations(default.input_activation, context.profile.activations),
            output_activation=_activations(default.output_activation, context.profile.activations),
            weight=_weights(default.weight, context),
        )
        graph = torch.export.export(model.train(), example, dynamic_shapes=_axes()).module()
        prepared: nn.Module = prepare_qat_pt2e(graph, X86InductorQuantizer().set_global(config))
    return prepared


def _activations(spec: Any, levels: Levels) -> Any:
    from torchao.quantization.pt2e import FakeQuantize, MovingAverageMinMaxObserver

    return dataclasses.replace(
        spec,
        dtype=torch.int8 if levels.least < 0 else torch.uint8,
        quant_min=levels.least,
        quant_max=levels.greatest,
        qscheme=torch.per_tensor_symmetric if levels.symmetric else torch.per_tensor_affine,
        observer_or_fake_quant_ctr=FakeQuantize.with_args(observer=MovingAverageMinMaxObserver, eps=SMALLEST_SCALE),
    )


def _weights(spec: Any, context: Context) -> Any:
    from torchao.quantization.pt2e import FakeQuantize, MovingAveragePerChannelMinMaxObserver

    bits, reduced = context.job.spec.weights.bits, context.profile.reduced_weights
    levels = Levels.of(bits, signed=True, symmetric=True, reduced=reduced and bits == 8)
    observer = MovingAveragePerChannelMinMaxObserver
    # The newest weights are the weights: nothing to average over.
    constructor = FakeQuantize.with_args(observer=observer, eps=SMALLEST_SCALE, averaging_constant=1.0)
    return dataclasses.replace(
        spec, quant_min=levels.least, quant_max=levels.greatest, observer_or_fake_quant_ctr=constructor
    )


def _exported(simulated: nn.Module, description: Any, example: tuple[torch.Tensor, ...]) -> "onnx.ModelProto":
    with libraries.quiet():
        from torchao.quantization.pt2e import move_exported_model_to_eval
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

        move_exported_model_to_eval(simulated)
        program = torch.onnx.export(
            convert_pt2e(simulated),
            example,
            input_names=[spec.name for spec in description.signature.inputs],
            output_names=[spec.name for spec in description.signature.outputs],
            dynamic_shapes=_axes(),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise BadInput("torch could not export the trained model to ONNX")
    return from_torch.plain(program.model_proto, description.signature)


def _to_train(simulated: nn.Module) -> None:
    from torchao.quantization.pt2e import move_exported_model_to_train

    move_exported_model_to_train(simulated)


def _settle(simulated: nn.Module) -> None:
    from torchao.quantization.pt2e import disable_observer

    simulated.apply(disable_observer)
