"""Models of users that lost work at the end of a training, or learned something false."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from slipway.api.training.memory import GIB, StrategyName, Workload, tensors
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from tests.unit.train.runs.users.models import Tied
from workloads import artifact, models, strict_json, tied_tensors
from workloads.errors import BadInput
from workloads.models import weights
from workloads.models.from_artifact import load_model

SMALL: dict[str, Any] = {"epochs": 1, "optimizer": {"name": "adamw", "learningRate": 0.01}, "gradientClipping": None}


# ZeRO-3 does to parameters, gradients and moments what ZeRO-2 does to the last two.
ZERO2 = pytest.param("zero-2", 2, marks=pytest.mark.slow)
ZERO3 = pytest.param("zero-3", 2, marks=pytest.mark.slow)
DDP = pytest.param("ddp", 2, marks=pytest.mark.slow)


@pytest.mark.parametrize(("strategy", "count"), [("single", 1), DDP, ("fsdp2", 2), ZERO2, ("zero-3", 2)])
def test_tied_weights_are_saved_resumed_published_and_loaded(
    tmp_path: Path, strategy: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors refused the shared tensors after the last step, and after the last step of every restart."""
    if not runs.installed(strategy):
        pytest.skip("its library is not installed")
    recipe = {**SMALL, "model": jobs.own("tied"), "dataset": jobs.texts(tmp_path)}
    jobs.resumed_ends_as_undisturbed(tmp_path, strategy, count, **recipe)
    monkeypatch.setenv(models.ALLOWED, jobs.OWN)
    model, description = load_model(tmp_path / "model")
    assert isinstance(model, Tied)
    assert model.head.weight is model.embedding.weight
    assert description.parameters == sum(one.numel() for one in model.parameters())
    again = Tied(257)
    assert weights.load(again, (tmp_path / "model").as_uri()) == []
    assert torch.equal(again.head.weight, model.head.weight)


def test_a_name_is_written_for_each_tensor_once(tmp_path: Path) -> None:
    model = Tied(300)
    assert [name for name in model.state_dict() if name not in tied_tensors.written(model.state_dict())] == [
        "head.weight"
    ]


def test_views_of_other_tensors_are_written_whole() -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    found = tied_tensors.written(
        {"whole": whole, "row": whole[1], "turned": whole.T, "none": torch.empty(0), "no": torch.empty(0)}
    )
    assert set(found) == {"whole", "row", "turned", "none", "no"}
    assert len({one.untyped_storage().data_ptr() for name, one in found.items() if one.numel()}) == 3


@pytest.mark.parametrize(
    "odd", [torch.empty(2, device="meta"), torch.eye(2).to_sparse(), {"a": 1}, torch.zeros(2, dtype=torch.complex64)]
)
def test_what_no_artifact_can_hold_is_named(odd: Any) -> None:
    with pytest.raises(BadInput, match="odd"):
        tied_tensors.written({"odd": odd})


@pytest.mark.parametrize(("strategy", "count"), [("single", 1), ("fsdp2", 2), ZERO2, ZERO3])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_parameter_without_gradient_is_resumed(tmp_path: Path, strategy: str, count: int, optimizer: str) -> None:
    """The optimizer has no moments for it, so the checkpoint had none, and could not be read: Missing key ... .step"""
    if not runs.installed(strategy) or (strategy != "single" and optimizer == "sgd"):
        pytest.skip("its library is not installed, or once is enough")
    recipe = {**SMALL, "model": jobs.own("branched"), "optimizer": {"name": optimizer, "learningRate": 0.01}}
    jobs.resumed_ends_as_undisturbed(tmp_path, strategy, count, **recipe)


@pytest.mark.parametrize("awake", [3, 7])
def test_a_parameter_whose_first_gradient_comes_later_takes_the_same_path(tmp_path: Path, awake: int) -> None:
    """Whether it comes before or after the step that is gone on from (5): the count of its moments is its own."""
    jobs.resumed_ends_as_undisturbed(tmp_path, "single", 1, **{**SMALL, "model": jobs.own("branched", awake=awake)})


def test_a_checkpoint_under_changed_code_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {**SMALL, "model": jobs.own("sized")}
    runs.run(tmp_path, "single", 1, **recipe)
    config = tmp_path / "checkpoints/digits-6f1c4a52"
    for path in config.glob("step-*/manifest.json"):
        path.write_text(path.read_text().replace("models:sized", "models:branched"))
    said = jobs.refused(tmp_path, **{**SMALL, "model": jobs.own("branched")})
    assert "the model's code was changed since" in said.splitlines()[-1]


@pytest.mark.parametrize(("strategy", "count"), [("single", 1), ("ddp", 2)])
def test_a_model_that_the_last_update_broke_is_not_published(tmp_path: Path, strategy: str, count: int) -> None:
    """It was, with NaN in artifact.json and metrics.jsonl: a success, and no JSON."""
    sgd = {"name": "sgd", "learningRate": 0.01}
    said = jobs.refused(
        tmp_path, count, strategy, **{**SMALL, "optimizer": sgd, "model": jobs.own("breaking", steps=10)}
    )
    assert "weights are not finite after step 10: lower the learning rate" in said.splitlines()[-1]
    assert not (tmp_path / "model").exists()
    assert [path.name for path in runs.checkpoints(tmp_path)] == ["step-0000000005"]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_that_is_none_is_refused(number: float) -> None:
    for write in (strict_json.line, strict_json.document):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write({"loss": number})


def test_nothing_of_trainer_or_artifact_writes_json_of_its_own() -> None:
    root = Path(artifact.__file__).parent
    found = [path for part in ("train", "data", "export", "importing") for path in (root / part).rglob("*.py")]
    wrong = [path.name for path in [root / "artifact.py", *found] if "json.dumps(" in path.read_text()]
    assert set(wrong) <= {"command.py", "synthetic.py", "supervised.py"}  # torchrun's error file, and what is hashed


def test_evaluation_takes_as_many_samples_as_training(tmp_path: Path) -> None:
    """It took 256, whatever the micro-batch: a language model ran out of memory at the end of its first epoch."""
    recipe = {**SMALL, "model": jobs.own("sized"), "globalBatchSize": 32, "gradientAccumulationSteps": 4}
    sizes = {line for line in runs.run(tmp_path / "a", "single", 1, **recipe).splitlines() if "at once" in line}
    assert {"evaluated at once: 8"} <= sizes <= {f"evaluated at once: {n}" for n in range(1, 9)}
    said = runs.run(tmp_path / "b", "single", 1, **recipe, evaluationBatchSize=100)
    assert "evaluated at once: 100" in said
    assert runs.history(tmp_path / "a")[-1]["accuracy"] == runs.history(tmp_path / "b")[-1]["accuracy"]
    assert json.loads((tmp_path / "b/model/artifact.json").read_text())["metrics"]["samples"] == 359


def test_a_large_evaluation_batch_counts_in_the_memory_model() -> None:
    """gpt2-large, 1024 tokens, 256 samples at a time: 49 GiB of logits."""
    work = Workload(774 * 10**6, 1, 1, layers=36, hidden=1280, sequence=1024, vocabulary=50257)
    large = Workload(**{**vars(work), "evaluation_batch": 256})
    assert tensors(large, StrategyName.DDP) - tensors(work, StrategyName.DDP) > 49 * GIB
    assert tensors(Workload(**{**vars(work), "evaluation_batch": 1}), StrategyName.DDP) == tensors(
        work, StrategyName.DDP
    )


def test_an_untied_file_loads_into_a_tied_model(tmp_path: Path) -> None:
    model = Tied(300)
    both = {**model.state_dict(), "head.weight": model.head.weight.detach().clone()}
    assert set(tied_tensors.completed(nn.Linear(1, 1), both)) == set(both)
