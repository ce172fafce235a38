"""A trained Llama of 130 thousand parameters, and tiny untrained ones of the other families."""

from pathlib import Path

import pytest

from tests.models.language import small as models
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
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small() -> Path:
    """Folder of the trained model, not to be changed."""
    return models.folder("small")


def tiny(family: str, folder: Path, shards: str | None = None, **more: object) -> Path:
    """An untrained model of a family, saved as Hugging Face saves it; `shards`: the largest file, as 20KB."""
    import torch

    library = transformers("tests")
    grouped = {"num_key_value_heads": GROUPED[family], "head_dim": 4} if family in GROUPED else {}
    config = library.AutoConfig.for_model(family, **SIZES, **TINY[family], **grouped, **more)
    torch.manual_seed(0)
    model = library.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, **({} if shards is None else {"max_shard_size": shards}))
    return folder
