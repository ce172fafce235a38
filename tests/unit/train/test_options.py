"""Every field of the recipe has its effect, or is refused in words where it can have none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slipway.api.common.artifact import DatasetReference
from slipway.api.training.learning.optimizer import Optimizer
from slipway.api.training.recipe import Recipe
from tests.unit.train.conftest import digits_job
from workloads import models
from workloads.data.texts.text import LabelledTexts, Stream, TextSet, Tokenizer
from workloads.errors import BadInput
from workloads.pod.environment import Place
from workloads.train import strategies, tasks
from workloads.train.job import Job, Overrides, read_job
from workloads.train.optimisation import peak_rate
from workloads.train.performance_options import prepare
from workloads.train.strategies.base import Single
from workloads.train.strategies.ddp import DataParallel

TWO = Place(0, 2, 0, 2)


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"model": {"name": "cnn"}, "dataset": {"name": "digits"}, **fields})


def job(folder: Path, spec: dict[str, Any], **fields: Any) -> Job:
    document = digits_job(folder, **fields)
    document["spec"].update(spec)
    path = folder / "job.json"
    path.write_text(json.dumps(document))
    return read_job(path, Overrides())


def text(labels: tuple[str, ...]) -> TextSet:
    tokenizer, length = Tokenizer(None), 4
    reference = DatasetReference(name="t", digest=f"sha256:{'a' * 64}", training_samples=2, held_out_samples=2)
    tokens = np.arange(9, dtype=np.int32)
    part = LabelledTexts(tokens[:8].reshape(2, 4), np.array([0, 1])) if labels else Stream(tokens, length)
    return TextSet(part, part, labels, tokenizer, length, reference)


@pytest.mark.parametrize("labels", [(), ("a", "b")], ids=["next token", "classes"])
def test_label_smoothing_reaches_the_loss_and_not_the_figures(labels: tuple[str, ...]) -> None:
    """A language model's was once left out."""
    shape = (2, 4, 5) if not labels else (2, 2)
    outputs = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    targets = torch.zeros(shape[:-1], dtype=torch.int64)
    sharp, smooth = (
        tasks.for_data(text(labels), recipe(label_smoothing=share), torch.device("cpu")) for share in (0.0, 0.2)
    )
    flat = outputs.reshape(-1, shape[-1])
    expected = nn.functional.cross_entropy(flat, targets.reshape(-1), label_smoothing=0.2)
    assert smooth.loss(outputs, targets) == pytest.approx(float(expected))
    assert smooth.loss(outputs, targets) != pytest.approx(float(sharp.loss(outputs, targets)))
    assert smooth.sums(outputs, targets) == sharp.sums(outputs, targets)


def test_the_rate_is_for_the_base_batch() -> None:
    assert peak_rate(Optimizer(learning_rate=0.1, base_batch_size=256), 1024) == pytest.approx(0.4)
    assert peak_rate(Optimizer(learning_rate=0.1), 1024) == 0.1


def test_channels_last_and_compile_are_seen_in_the_module() -> None:
    model = prepare(models.build("cnn", CNN), recipe(channels_last=True, compile=True))
    weight = next(parameter for parameter in model.parameters() if parameter.ndim == 4 and parameter.shape[1] > 1)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
    assert model._compiled_call_impl is not None


CNN = {"channels": 1, "height": 8, "width": 8, "classes": 10, "features": 4}


@pytest.mark.parametrize(
    ("model", "option"),
    [(lambda: models.build("cnn", CNN), "activation_checkpointing"), (lambda: nn.Linear(2, 2), "channels_last")],
)
def test_what_a_model_has_no_use_for_is_refused(model: Callable[[], nn.Module], option: str) -> None:
    with pytest.raises(BadInput, match="remove it"):
        prepare(model(), recipe(**{option: True}))


def test_a_transformers_blocks_are_computed_anew() -> None:
    pytest.importorskip("transformers")
    sizes = {"vocabulary": 11, "length": 6, "layers": 2, "hidden": 8, "heads": 2}
    gradients, kept = [], []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = prepare(models.build("gpt2", sizes), recipe(activation_checkpointing=recompute))
        seen: list[int] = []
        torch.manual_seed(1)  # of the dropout
        with torch.autograd.graph.saved_tensors_hooks(lambda x: seen.append(x.nbytes) or x, lambda x: x):  # type: ignore[func-returns-value] # noqa: B023
            loss = model(torch.arange(6)[None].repeat(8, 1)).square().mean()
        loss.backward()
        kept.append(sum(seen))
        gradients.append([parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None])
    assert kept[1] < 0.5 * kept[0]
    assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True))


@pytest.mark.parametrize("name", ["FSDP2", "ZeRO2"])
def test_compression_of_gradients_is_refused_where_nobody_does_it(tmp_path: Path, name: str) -> None:
    asked = job(tmp_path, {"strategy": {"name": name}}, gradientCompression="fp16")
    with pytest.raises(BadInput, match="gradientCompression is for DDP and Horovod"):
        strategies.choose(asked, TWO, {})
    plain = job(tmp_path, {"strategy": {"name": name}})
    assert strategies.choose(plain, TWO, {}).compresses is False


def test_compression_of_gradients_is_ddps(tmp_path: Path) -> None:
    asked = job(tmp_path, {}, gradientCompression="fp16")
    assert isinstance(strategies.choose(asked, TWO, {}), DataParallel)
    assert type(strategies.choose(asked, Place(), {})) is Single, "one process alone has nothing to send"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"bf16": {"enabled": True}}, "clips gradients at 1.0"),
        ({"gradient_clipping": 1.0}, "precision is bf16"),
        ({"gradient_clipping": 1.0, "bf16": {"enabled": True}, "train_batch_size": 1}, "train_batch_size is 1"),
        ({"gradient_clipping": 1.0, "bf16": {"enabled": True}, "optimizer": {}}, "has optimizer, and so has"),
        ({"gradient_clipping": 1.0, "bf16": {"enabled": True}}, ""),
    ],
)
def test_a_given_configuration_of_deepspeed_is_held_to_the_recipe(
    tmp_path: Path, config: dict[str, Any], words: str
) -> None:
    (tmp_path / "ds.json").write_text(json.dumps({"zero_optimization": {"stage": 1}, **config}))
    given = {"SLIPWAY_DEEPSPEED_CONFIG": str(tmp_path / "ds.json")}
    asked = job(tmp_path, {"launcher": "deepspeed"}, precision="bf16", gradientClipping=1.0)
    if words:
        with pytest.raises(BadInput, match=words):
            strategies.choose(asked, TWO, given)
        return
    assert strategies.choose(asked, TWO, given).name == "zero-1"
