"""Weights load as transformers loads them, shard by shard; what would be filled up with noise there is refused here."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.unit.language.conftest import TINY, tiny
from workloads.errors import BadInput, Corrupt
from workloads.language import config, weights
from workloads.language.shards import INDEX_FILE
from workloads.libraries import transformers


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("shards", [None, "8KB"])
def test_each_family_answers_as_in_transformers(family: str, shards: str | None, tmp_path: Path) -> None:
    tiny(family, tmp_path, shards)
    assert (tmp_path / INDEX_FILE).exists() == (shards is not None)
    model, ids = weights.load(tmp_path), torch.arange(20)[None]
    reference = transformers("tests").AutoModelForCausalLM.from_pretrained(tmp_path)
    assert torch.equal(model(input_ids=ids).logits, reference(input_ids=ids).logits)
    said = config.described(tmp_path)
    assert (said.layers, said.heads, said.vocabulary, said.context_length) == (2, 4, 99, 64)
    assert said.key_value_heads == (4 if family == "gpt2" else 2)
    assert said.tied is (family == "gpt2")


def test_tied_and_sharded_weights_are_one_tensor_after_loading(small: Path) -> None:
    model = weights.load(small)
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_a_tied_model_whose_file_holds_the_output_layer_too_is_loaded(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    tensors = load_file(small / "model.safetensors")
    save_file(
        {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}, tmp_path / "m/model.safetensors"
    )
    ids = torch.arange(9)[None]
    assert torch.equal(weights.load(tmp_path / "m")(input_ids=ids).logits, weights.load(small)(input_ids=ids).logits)


@pytest.mark.parametrize("change", ["renamed", "missing", "added", "shape"])
def test_weights_of_another_model_are_refused(change: str, small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    tensors, name = load_file(small / "model.safetensors"), "model.layers.1.mlp.up_proj.weight"
    if change == "renamed":
        tensors["model.layers.1.mlp.up_projection.weight"] = tensors.pop(name)
    elif change == "missing":
        del tensors[name]
    elif change == "added":
        tensors["model.layers.7.mlp.up_proj.weight"] = tensors[name].clone()
    else:
        tensors[name] = tensors[name][:-1].clone()
    save_file(tensors, tmp_path / "m/model.safetensors")
    with pytest.raises(BadInput, match=r"up_proj"):
        weights.load(tmp_path / "m")


def test_code_of_the_folder_and_pickles_are_never_touched(small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    said = json.loads((tmp_path / "m/config.json").read_text())
    (tmp_path / "m/config.json").write_text(json.dumps({**said, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(BadInput, match="auto_map"):
        weights.load(tmp_path / "m")
    (tmp_path / "m/config.json").write_text(json.dumps(said))
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/pytorch_model.bin")
    with pytest.raises(BadInput, match="pickle"):
        weights.load(tmp_path / "m")


@pytest.mark.parametrize(
    "index", [{"weight_map": {"a": "../../etc/passwd"}}, {"weight_map": {"a": "gone.safetensors"}}, {}, [], "{"]
)
def test_a_forged_index_is_corrupt(index: object, small: Path, tmp_path: Path) -> None:
    shutil.copytree(small, tmp_path / "m")
    text = index if isinstance(index, str) else json.dumps(index)
    (tmp_path / "m" / INDEX_FILE).write_text(text)
    with pytest.raises(Corrupt):
        weights.load(tmp_path / "m")


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 0}, {"vocab_size": "512"}, {"num_key_value_heads": 3}, {"model_type": "mamba"},
     {"architectures": ["LlamaForSequenceClassification"]}, {"hidden_size": -64}, {"hidden_size": True}],
)  # fmt: skip
def test_a_configuration_that_makes_no_model_is_refused(change: dict, small: Path, tmp_path: Path) -> None:
    said = json.loads((small / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**said, **change}))
    with pytest.raises(BadInput):
        config.described(tmp_path)
