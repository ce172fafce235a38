"""How is a model trained with quantization in its forward pass?

Torchao's PT2E flow, with checkpoints, exported as Q/DQ ONNX.

With plain FakeQuantize (straight-through estimator): the fused one of torchao 0.18 trains with one scale and converts
with another (pytorch/ao#4824), which costs a 3-bit model a third of its accuracy. What is exported is judged like any
other candidate, in the runtime, so nothing here is taken on trust.
"""

import copy
import dataclasses
import json
import math
import os
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workloads import artifact, data
from workloads.cpus import cpu_limit
from workloads.data.samples import TrainingSamples
from workloads.errors import BadInput
from workloads.export import from_torch
from workloads.quantize.context import Context
from workloads.quantize.scale import Levels
from workloads.train.environment import Place, threads
from workloads.train.normalise import Normalise

if TYPE_CHECKING:
    import onnx

    from workloads.data import DataSet

OPSET = 21  # the first with what the converted graph needs
SMALLEST_SCALE = 2**-12
TEMPERATURE = 4.0  # of both answers in the distillation loss (Hinton et al. 2015)
SETTLED = 0.8  # share of the steps after which ranges and batch statistics are frozen (Krishnamoorthi 2018, 3.2.1)
SAVE_EVERY = 30.0  # seconds between two checkpoints
STATE = "qat/state.safetensors"


def train(context: Context) -> "onnx.ModelProto":
    """Train, convert, export. Goes on from the last checkpoint of this job."""
    choice, calibration = context.job.spec.qat, context.job.spec.calibration
    if calibration is None or calibration.dataset is None or context.source.preprocessing is None:
        raise BadInput("training needs a data set with labels: set calibration.dataset")
    torch.set_num_threads(threads(Place(), os.environ, cpu_limit()))
    torch.manual_seed(choice.seed)
    model, description = artifact.load_model(context.source.uri, context.source.digest)
    teacher = copy.deepcopy(model).eval()
    dataset = data.load(calibration.dataset)
    steps = choice.epochs * (len(dataset.training) // choice.batch_size)
    if steps == 0:
        raise BadInput(f"qat.batchSize {choice.batch_size} is more than the {len(dataset.training)} training images")
    example = (torch.zeros(choice.batch_size, *description.signature.inputs[0].shape[1:]),)  # type: ignore[arg-type]
    simulated = _prepared(context, model, example)
    training = Training(context, simulated, teacher, dataset, steps)
    training.run()
    return _exported(simulated, description, example)


def _axes() -> Any:
    return ({0: torch.export.Dim("batch", min=2, max=65536)},)


def _prepared(context: Context, model: nn.Module, example: tuple[torch.Tensor, ...]) -> nn.Module:
    with from_torch.quiet():
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
    with from_torch.quiet():
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


class Training:
    """The loop. Every step is a function of the seed and its number, so a resumed run ends with the same weights."""

    def __init__(self, context: Context, model: nn.Module, teacher: nn.Module, dataset: "DataSet", steps: int) -> None:
        self._context, self._model, self._teacher, self._steps = context, model, teacher, steps
        self._choice = context.job.spec.qat
        self._samples = TrainingSamples(dataset.training, dataset.augmentation, self._choice.seed)
        assert context.source.preprocessing is not None  # noqa: S101 (checked by the caller)
        self._normalise = Normalise(context.source.preprocessing, torch.device("cpu"))
        self._optimizer = torch.optim.AdamW(model.parameters(), lr=self._choice.learning_rate)
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def run(self) -> None:
        """All steps that are left."""
        from torchao.quantization.pt2e import move_exported_model_to_train

        move_exported_model_to_train(self._model)
        first, saved = self._resume(), time.monotonic()
        for step in self._context.voice.track(range(first, self._steps), "training", first):
            if step == int(SETTLED * self._steps):
                self._settle()
            self._step(step)
            if time.monotonic() - saved >= SAVE_EVERY:
                self._save(step + 1)
                saved = time.monotonic()
        self._save(self._steps)

    def _settle(self) -> None:
        from torchao.quantization.pt2e import disable_observer

        self._model.apply(disable_observer)

    def _step(self, step: int) -> None:
        images, labels = self._batch(step)
        for group in self._optimizer.param_groups:
            group["lr"] = self._choice.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self._steps))
        answer = self._model(images)
        share = self._choice.distillation
        loss = (1 - share) * nn.functional.cross_entropy(answer, labels)
        if share:
            with torch.no_grad():
                wanted = nn.functional.softmax(self._teacher(images) / TEMPERATURE, dim=1)
            soft = nn.functional.cross_entropy(answer / TEMPERATURE, wanted)
            loss = loss + share * TEMPERATURE**2 * soft
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        size, count = self._choice.batch_size, len(self._samples)
        epoch, position = divmod(step, count // size)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self._choice.seed * 100003 + epoch)
            self._epoch, self._order = epoch, torch.randperm(count, generator=generator)
            self._samples.epoch = epoch
        pixels, labels = self._samples.__getitems__(self._order[position * size : (position + 1) * size].tolist())
        return self._normalise(pixels), labels

    def _save(self, step: int) -> None:
        """Weights, ranges and moments in one file that appears by a rename."""
        from safetensors.torch import save_file

        state = {f"model.{name}": value.detach().contiguous() for name, value in self._model.state_dict().items()}
        for number, moments in self._optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
        path = self._context.work.path(STATE)
        staged = path.with_name(f".{path.name}.partial")
        save_file({name: value.clone() for name, value in state.items()}, staged, {"step": json.dumps(step)})
        staged.rename(path)

    def _resume(self) -> int:
        """The step to go on with."""
        from safetensors import safe_open

        path = self._context.work.path(STATE)
        if not path.exists():
            return 0
        with safe_open(path, "pt") as stored:
            step = int(json.loads(stored.metadata()["step"]))
            state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        # Without `strict`, torchao's observers take over the shapes of the ranges they have seen.
        self._model.load_state_dict({n.removeprefix("model."): v for n, v in state.items() if n.startswith("model.")})
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimizer."):
                _, number, field = name.split(".")
                moments.setdefault(int(number), {})[field] = value
        own = self._optimizer.state_dict()
        self._optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})
        self._context.voice.say(f"qat: resumed at step {step} of {self._steps}")
        return step
