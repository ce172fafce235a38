"""A trained Llama of 130 thousand parameters, and tiny untrained ones of the other families."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from slipway.api.common.artifact import JobReference, Lineage, Source
from slipway.api.common.language import ArtifactKind
from tests.models.language import small as models
from workloads.language import adapters, artifacts, scoring, weights
from workloads.language.text_tokenizer import TextTokenizer
from workloads.libraries import transformers

SIZES = {"vocab_size": 99, "max_position_embeddings": 64}
TINY = {
    "llama": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4},
    "mistral": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4},
    "qwen2": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4},
    "qwen3": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 4},
}
GROUPED = {"llama": 2, "mistral": 2, "qwen2": 2, "qwen3": 2}


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Run torch on one thread: in models this small a second one mostly waits for the first."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small() -> Path:
    """Folder of the trained model, not to be changed."""
    return models.folder("small")


def tiny(family: str, folder: Path, shards: str | None = None, **more: object) -> Path:
    """An untrained model of a family, saved as Hugging Face saves it; `shards`: the largest file, as 20KB."""
    library = transformers("tests")
    grouped = {"num_key_value_heads": GROUPED[family], "head_dim": 4} if family in GROUPED else {}
    config = library.AutoConfig.for_model(family, **SIZES, **TINY[family], **grouped, **more)
    torch.manual_seed(0)
    model = library.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, **({} if shards is None else {"max_shard_size": shards}))
    return folder


LINEAGE = Lineage(job=JobReference(kind="TrainingJob", name="t"))


def draft(kind: ArtifactKind, **more: Any) -> artifacts.Draft:
    return artifacts.Draft(kind, LINEAGE, "2026-01-01T00:00:00Z", 1, {"perplexity": 7.0}, **more)


@pytest.fixture(scope="session")
def published(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where, model = tmp_path_factory.mktemp("published") / "model", weights.load(small)
    with artifacts.publishing(str(where), "me", draft(ArtifactKind.CAUSAL_LM)) as folder:
        artifacts.copy_beside(small, folder)
        shutil.copyfile(small / "model.safetensors", folder / "model.safetensors")
        scoring.measured(model, scoring.prompts_of(TextTokenizer(small), [], 512)).write(folder)
    return where


@pytest.fixture(scope="session")
def adapter(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where, base = tmp_path_factory.mktemp("adapter") / "lora", artifacts.read(published)
    peft, prompts = adapters.library(), scoring.prompts_of(TextTokenizer(published), [], 512)
    torch.manual_seed(1)
    made = peft.get_peft_model(
        weights.load(published), peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    )
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    said = draft(
        ArtifactKind.LORA_ADAPTER,
        adapter=None,
        base=Source(uri=str(published), digest=base.digest),
    )
    with artifacts.publishing(str(where), "me", said) as folder:
        made.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        scoring.measured(made, prompts, weights.load(published)).write(folder)
        said.adapter = adapters.described(folder)
    return where
