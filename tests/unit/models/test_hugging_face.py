"""Folders of Hugging Face's, and libraries' models by name: built for the data, filled, rebuilt from an artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from slipway.api.common.sources import ModelChoice
from workloads import models
from workloads.errors import BadInput
from workloads.models import weights

transformers = pytest.importorskip("transformers")
SIZES = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
SIZES |= {"num_attention_heads": 4, "max_position_embeddings": 64}
STREAM, CLASSES = models.Text(16, 257, 256), models.Text(16, 257, 256, 3)
PICTURES = models.Images(3, 16, 16, 4)


def folder(root: Path, kind: str) -> Path:
    """As save_pretrained leaves it."""
    made: Any
    if kind == "llama":
        made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=2))
    elif kind == "bert":
        made = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    else:
        sizes = {name: value for name, value in SIZES.items() if name not in {"vocab_size", "max_position_embeddings"}}
        made = transformers.ViTForImageClassification(transformers.ViTConfig(**sizes, image_size=16, patch_size=8))
    made.eval().save_pretrained(root / kind)
    return root / kind


def begun(path: Path, data: Any) -> tuple[Any, list[str], str, Any]:
    name, arguments = models.fit(ModelChoice.model_validate({"name": "hugging-face", "uri": path.as_uri()}), data)
    model = models.build(name, arguments).eval()
    return model, weights.load(model, path.as_uri()), name, arguments


@pytest.mark.parametrize(
    ("kind", "data", "anew"), [("llama", STREAM, 0), ("llama", CLASSES, 1), ("bert", CLASSES, 4), ("vit", PICTURES, 2)]
)
def test_a_folder_starts_a_model_with_the_head_of_the_data(tmp_path: Path, kind: str, data: Any, anew: int) -> None:
    model, new, name, arguments = begun(folder(tmp_path, kind), data)
    assert len(new) == anew
    given = torch.rand(2, 3, 16, 16) if data is PICTURES else torch.randint(0, 256, (2, 16))
    answers = model(given)
    assert answers.shape == {STREAM: (2, 16, 257), CLASSES: (2, 3), PICTURES: (2, 4)}[data]
    if data is STREAM:
        theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path / kind)
        assert torch.allclose(answers, theirs(given).logits[..., :257], atol=1e-5)
    again = models.build(name, json.loads(json.dumps(arguments))).eval()  # an artifact has no folder
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(given), answers)


def _pickle(path: Path) -> None:
    (path / "model.safetensors").rename(path / "pytorch_model.bin")


def _unknown(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": {"AutoModel": "own.Own"}}))


def _smaller(path: Path) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "intermediate_size": 96}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_pickle, "may run any program"), (_unknown, "brings its own code is not run"), (_smaller, "of another model")],
)
def test_a_folder_that_cannot_be_trusted_or_does_not_fit_is_refused(tmp_path: Path, spoil: Any, words: str) -> None:
    path = folder(tmp_path, "llama")
    spoil(path)
    with pytest.raises(BadInput, match=words):
        begun(path, STREAM)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (models.Text(128, 257, 256), "dataset.sequenceLength is 128"),
        (models.Text(16, 400, 399), "tokenizer's tokens is 400"),
        (PICTURES, "no head for this data"),
        (models.Boxes(3, 16, 16, 4), "holds boxes"),
    ],
)
def test_data_that_does_not_fit_a_folder_is_told_with_the_field(tmp_path: Path, data: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        begun(folder(tmp_path, "llama"), data)


@pytest.mark.parametrize(
    ("name", "architecture", "data"),
    [
        ("torchvision", "mobilenet_v3_small", models.Images(1, 32, 32, 5)),
        ("timm", "resnet10t", models.Images(1, 32, 32, 5)),
        ("timm", "vit_tiny_patch16_224", models.Images(3, 32, 32, 5)),
    ],
)
def test_a_librarys_model_by_its_name(name: str, architecture: str, data: Any) -> None:
    pytest.importorskip(name)
    made, arguments = models.fit(ModelChoice.model_validate({"name": name, "architecture": architecture}), data)
    assert models.build(made, arguments)(torch.rand(2, data.channels, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize(
    ("architecture", "arguments", "words"),
    [
        ("efficientnet_b00", {}, "did you mean efficientnet_b0"),
        ("fasterrcnn_resnet50_fpn", {}, "no classifier"),
        ("resnet18", {"weights": "DEFAULT"}, "nothing is downloaded"),
        ("resnet18", {"depth": "3"}, "cannot be built"),
    ],
)
def test_a_name_that_is_none_is_refused_in_words(architecture: str, arguments: dict[str, str], words: str) -> None:
    pytest.importorskip("torchvision")
    fields = {"name": "torchvision", "architecture": architecture, "arguments": arguments}
    with pytest.raises(BadInput, match=words):
        models.build(*models.fit(ModelChoice.model_validate(fields), PICTURES))


@pytest.mark.parametrize("choice", [{"name": "timm"}, {"name": "cnn", "architecture": "x"}, {"name": "hugging-face"}])
def test_what_belongs_together_is_asked_for_at_admission(choice: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ModelChoice.model_validate(choice)
