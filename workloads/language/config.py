"""Configuration of a language model, from config.json alone: no code of the folder is ever run.

Read by everybody; without transformers, since the server's image has none.
"""

import json
from pathlib import Path
from typing import Any

from slipway.api.common.language import CONFIG_FILE, LanguageModel
from workloads.errors import BadInput, Corrupt

# model_type of config.json, and transformers' class of its weights.
FAMILIES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
}
LARGEST_JSON = 16 << 20  # bytes; a tokenizer has a file of its own
# Names that families have for the same number.
_NAMES = {
    "context_length": ("max_position_embeddings", "n_positions"),
    "vocabulary": ("vocab_size",),
    "layers": ("num_hidden_layers", "n_layer"),
    "hidden_size": ("hidden_size", "n_embd"),
    "heads": ("num_attention_heads", "n_head"),
}


def json_of(path: Path) -> dict[str, Any]:
    """An object of a JSON file. BadInput where there is none; Corrupt for what is no object or unreasonably large."""
    if not path.is_file():
        raise BadInput(f"{path}: the file is missing")
    if path.stat().st_size > LARGEST_JSON:
        raise Corrupt(f"{path}: {path.stat().st_size} bytes, a configuration has a few thousand")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Corrupt(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise Corrupt(f"{path}: expected an object")
    return found


def optional_json(path: Path) -> dict[str, Any]:
    """The same, empty where there is no file."""
    return json_of(path) if path.is_file() else {}


def checked(folder: Path) -> dict[str, Any]:
    """config.json of a model that can be read. BadInput for another family, or one that brings code of its own."""
    config = json_of(folder / CONFIG_FILE)
    family = config.get("model_type")
    if config.get("auto_map"):
        raise BadInput(f"{folder}: config.json asks for code of its own (auto_map), which is never run: remove it")
    if family not in FAMILIES:
        raise BadInput(f"{folder}: a model of type {family!r}; those that can be read are {', '.join(FAMILIES)}")
    architectures = config.get("architectures") or [FAMILIES[family]]
    if FAMILIES[family] not in architectures:
        raise BadInput(f"{folder}: {architectures} predicts no next token, expected {FAMILIES[family]}")
    return config


def described(folder: Path) -> LanguageModel:
    """Sizes of the model in a folder. BadInput where config.json lacks one or contradicts itself."""
    config = checked(folder)
    sizes = {name: _whole(config, folder, *names) for name, names in _NAMES.items()}
    heads = sizes["heads"]
    grouped = _whole(config, folder, "num_key_value_heads", instead=heads)
    if heads % grouped:
        raise BadInput(f"{folder}: {heads} heads cannot share {grouped} heads of keys and values")
    if "head_dim" not in config and sizes["hidden_size"] % heads:
        raise BadInput(f"{folder}: hidden_size {sizes['hidden_size']} does not divide by {heads} heads")
    head = _whole(config, folder, "head_dim", instead=sizes["hidden_size"] // heads)
    return LanguageModel(
        family=config["model_type"],
        key_value_heads=grouped,
        head_size=head,
        tied=_tied(config),
        end_tokens=end_tokens(folder, config),
        chat=bool(template_of(folder)),
        **sizes,
    )


def _tied(config: dict[str, Any]) -> bool:
    """Defaults of the family where the file says nothing: GPT-2 shares its embedding, the others do not."""
    return bool(config.get("tie_word_embeddings", config["model_type"] == "gpt2"))


def _whole(config: dict[str, Any], folder: Path, *names: str, instead: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
                raise BadInput(f"{folder}: config.json has {name} {value!r}, expected a number from 1 on")
            return value
    if instead is None:
        raise BadInput(f"{folder}: config.json lacks {names[0]}")
    return instead


def end_tokens(folder: Path, config: dict[str, Any]) -> list[int]:
    """Tokens that end an answer: generation_config.json's before config.json's, since chat models add theirs there."""
    found = optional_json(folder / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    listed = found if isinstance(found, list) else [found]
    return sorted({one for one in listed if isinstance(one, int) and not isinstance(one, bool) and one >= 0})


def template_of(folder: Path) -> str | None:
    """The chat template: chat_template.jinja, else chat_template of tokenizer_config.json; of several the default."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        if path.stat().st_size > LARGEST_JSON:
            raise Corrupt(f"{path}: {path.stat().st_size} bytes are no chat template")
        return path.read_text(encoding="utf-8")
    found = optional_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) and found else None
