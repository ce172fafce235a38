"""Weights to begin with: torchvision's names fit, other models' do not, and a pickle that runs a program is refused."""

import json
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from workloads import models
from workloads.errors import BadInput, Corrupt
from workloads.models import Images, weights

ROOT = Path(__file__).parents[3]
NAMES = json.loads((Path(__file__).parent / "torchvision_names.json").read_text())
IMAGENET = Images(3, 224, 224, 1000)


def model(name: str, images: Images = IMAGENET) -> torch.nn.Module:
    return models.build(name, models.arguments_for(name, images, 8))


class Evil:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self._path,)


@pytest.mark.parametrize(
    ("ours", "theirs"), [("resnet18", "resnet18"), ("resnet50", "resnet50"), ("mobilenetv2", "mobilenet_v2")]
)
def test_names_and_shapes_are_torchvisions(ours: str, theirs: str) -> None:
    own = {name: list(tensor.shape) for name, tensor in model(ours).state_dict().items()}
    assert own == NAMES[theirs]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_is_loaded_and_the_last_layer_may_differ(tmp_path: Path, suffix: str) -> None:
    trained = model("mobilenetv2", Images(3, 32, 32, 1000))
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(trained.state_dict(), path)
    else:
        save_file(trained.state_dict(), path)
    same = model("mobilenetv2", Images(3, 32, 32, 1000))
    assert weights.load(same, path.as_uri()) == []
    expected = trained.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in same.state_dict().items())
    other = model("mobilenetv2", Images(3, 32, 32, 10))
    before = other.state_dict()["classifier.1.weight"].clone()
    assert weights.load(other, path.as_uri()) == ["classifier.1.weight", "classifier.1.bias"]
    assert torch.equal(other.state_dict()["classifier.1.weight"], before)
    assert torch.equal(other.state_dict()["features.0.0.weight"], trained.state_dict()["features.0.0.weight"])


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(model("resnet18").state_dict(), path)
    with pytest.raises(BadInput, match="the weights are of another model, for example"):
        weights.load(model("mobilenetv2"), str(path))


def test_a_pickle_that_runs_a_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(pickle.dumps({"state_dict": Evil(tmp_path / "ran")}))
    with pytest.raises(BadInput, match="refused, the file holds more than tensors"):
        weights.load(model("resnet18"), str(path))
    torch.save({"weight": torch.zeros(1), "evil": Evil(tmp_path / "ran")}, path)
    with pytest.raises(BadInput, match="refused, the file holds more than tensors"):
        weights.load(model("resnet18"), str(path))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_as_data_set_is_refused(tmp_path: Path) -> None:
    from slipway.api.common.sources import DatasetChoice
    from workloads import data

    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        (tmp_path / name).write_bytes(pickle.dumps({b"data": Evil(tmp_path / "ran"), b"labels": [0]}))
    with pytest.raises(Corrupt, match="which a CIFAR-10 batch has no use for"):
        data.load(DatasetChoice(name="cifar10", uri=tmp_path.as_uri()))  # type: ignore[arg-type]
    assert not (tmp_path / "ran").exists()


def test_own_code_of_an_artifact_is_called_only_when_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"trust it by SLIPWAY_OWN_CODE=torch.nn"):
        models.build("torch.nn:Linear", {"in_features": 2, "out_features": 1})
    monkeypatch.setenv("SLIPWAY_OWN_CODE", "torch.nn")
    assert isinstance(models.build("torch.nn:Linear", {"in_features": 2, "out_features": 1}), torch.nn.Linear)
    with pytest.raises(BadInput, match="not found on this image's Python path"):
        models.build("no_such_module:build", {}, own=True)
    with pytest.raises(BadInput, match="does not take the arguments"):
        models.build("torch.nn:Linear", {"width": 2}, own=True)


def test_nothing_in_the_project_unpickles_more_than_tensors() -> None:
    """`torch.load` always with weights_only=True, and no unpickler but those that know a few harmless names."""
    for path in (*(ROOT / "workloads").rglob("*.py"), *(ROOT / "operator").rglob("*.py")):
        text = path.read_text()
        for call in re.finditer(r"torch\.load\(([^()]|\([^()]*\))*\)", text):
            assert "weights_only=True" in call.group(), f"{path}: {call.group()}"
        assert not re.search(r"pickle\.loads?\(|allow_pickle=True|trust_remote_code=True|joblib\.load", text), path
