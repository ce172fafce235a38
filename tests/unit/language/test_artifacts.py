"""Artifacts of language models: whole or refused; adapters reach every layer of their own base or are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from slipway.api.common.language import ArtifactKind
from tests.unit.language.conftest import draft
from workloads.errors import BadInput, Corrupt
from workloads.language import adapters, artifacts, probes, scoring, weights


def served(model: Any, found: artifacts.LanguageArtifact) -> probes.Verdict:
    assert found.probes is not None
    answers = scoring.greedy(model, [probe.prompt for probe in found.probes.probes])
    return probes.compared(found.probes.probes, answers)


def test_a_published_model_is_whole_and_answers_its_probes(published: Path) -> None:
    found = artifacts.read(published)
    assert found.kind is ArtifactKind.CAUSAL_LM
    assert found.language is not None
    assert found.language.cache_bytes_per_token(2) == 2 * 2 * 1 * 32 * 2
    assert found.language.chat
    assert found.language.end_tokens == [0]
    assert served(weights.load(published), found).reason == ""


def test_any_changed_byte_and_any_pickle_beside_is_refused(published: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(path for path in published.iterdir() if path.name != "artifact.json")):
        where = tmp_path / str(number)
        shutil.copytree(published, where)
        content = bytearray((where / path.name).read_bytes())
        content[len(content) // 2] ^= 1
        (where / path.name).write_bytes(content)
        with pytest.raises(Corrupt):
            artifacts.read(where)
    (tmp_path / "0" / "x").touch()
    shutil.copytree(published, tmp_path / "p")
    (tmp_path / "p/pytorch_model.bin").touch()
    with pytest.raises(BadInput, match="pytorch_model"):
        artifacts.read(tmp_path / "p")
    with pytest.raises(Corrupt, match="expected"):
        artifacts.read(published, "sha256:" + "0" * 64)


def test_a_model_without_probes_is_not_published(small: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match="probes"),
        artifacts.publishing(str(tmp_path / "x"), "me", draft(ArtifactKind.CAUSAL_LM)) as folder,
    ):
        artifacts.copy_beside(small, folder)
    assert not (tmp_path / "x").exists()


def test_a_damaged_layer_does_not_answer_the_probes(published: Path) -> None:
    model = weights.load(published)
    with torch.no_grad():
        model.get_submodule("model.layers.1.mlp.down_proj").weight.mul_(1.5)
    assert served(model, artifacts.read(published)).reason == probes.MISMATCH


def test_an_adapter_changes_the_answers_and_the_bare_base_is_told(published: Path, adapter: Path) -> None:
    found = artifacts.read(adapter)
    assert found.probes is not None
    assert probes.distinct(found.probes.probes)
    adapters.require_base(found, artifacts.read(published))
    assert served(weights.load(published), found).reason == probes.NOT_APPLIED
    attached = adapters.attach(weights.load(published), adapter)
    assert served(attached, found).reason == ""
    assert served(adapters.merged(attached), found).reason == ""


@pytest.mark.parametrize("change", ["renamed", "other-layer", "half", "none", "prefix"])
def test_an_adapter_whose_tensors_fit_nothing_is_refused(
    change: str, published: Path, adapter: Path, tmp_path: Path
) -> None:
    shutil.copytree(adapter, tmp_path / "a")
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in tensors if "layers.0.self_attn" in name and "lora_A" in name)
    if change == "renamed":
        tensors[name.replace("self_attn", "attention")] = tensors.pop(name)
    elif change == "other-layer":
        tensors = {name.replace("layers.0", "layers.8"): tensor for name, tensor in tensors.items()}
    elif change == "half":
        del tensors[name]
    elif change == "none":
        tensors = {}
    else:
        tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in tensors.items()}
        tensors = {"language_model." + name: tensor for name, tensor in tensors.items()}
    save_file(tensors, tmp_path / "a/adapter_model.safetensors")
    with pytest.raises(BadInput, match="AdapterNotApplied"):
        adapters.attach(weights.load(published), tmp_path / "a")


def test_an_adapter_of_another_base_is_refused(small: Path, adapter: Path) -> None:
    with pytest.raises(BadInput, match="was trained on"):
        adapters.require_base(artifacts.read(adapter), artifacts.read(small))


def test_other_kinds_of_adapters_are_refused(adapter: Path, tmp_path: Path) -> None:
    shutil.copytree(adapter, tmp_path / "a")
    said = json.loads((adapter / "adapter_config.json").read_text())
    for change in ({"peft_type": "IA3"}, {"modules_to_save": ["lm_head"]}, {"r": None}):
        (tmp_path / "a/adapter_config.json").write_text(json.dumps({**said, **change}))
        with pytest.raises((BadInput, Corrupt)):
            adapters.described(tmp_path / "a")
