"""LoRA adapters: read with their names compared to the base model's, attached by peft, merged into the base.

peft and the engines skip tensors whose names fit nothing; here each one must land, and each layer must get its own.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.api.common.language import ADAPTER_CONFIG_FILE, ADAPTER_FILE, AdapterOfModel, ArtifactKind
from workloads.errors import BadInput, Corrupt
from workloads.language.artifacts import LanguageArtifact
from workloads.language.config import json_of
from workloads.libraries import TEXT, optional, transformers

if TYPE_CHECKING:
    import torch
    from torch import nn

NOT_APPLIED = "AdapterNotApplied"
_PREFIX = "base_model.model."
_TENSOR = re.compile(r"(?P<layer>.+)\.lora_(?P<part>[AB])(\.default)?\.weight")


def library() -> Any:
    """The package peft; transformers first, without torchvision."""
    transformers("LoRA adapters belong to models of transformers")
    return optional("peft", "LoRA adapters are made by peft", TEXT)


def described(folder: Path) -> AdapterOfModel:
    """Rank, alpha and layers of an adapter. BadInput for another kind of adapter than LoRA."""
    said = json_of(folder / ADAPTER_CONFIG_FILE)
    if said.get("peft_type") != "LORA":
        raise BadInput(f"{folder}: an adapter of type {said.get('peft_type')}, LORA is what is read")
    if said.get("auto_mapping") or said.get("modules_to_save"):
        raise BadInput(f"{folder}: adapters with modules_to_save or auto_mapping are not read")
    modules = said.get("target_modules")
    listed = [modules] if isinstance(modules, str) else sorted(modules or [])
    if not listed or not isinstance(said.get("r"), int):
        raise Corrupt(f"{folder}: {ADAPTER_CONFIG_FILE} lacks r or target_modules")
    return AdapterOfModel(rank=said["r"], alpha=said.get("lora_alpha", 8), target_modules=listed)


def require_base(adapter: LanguageArtifact, base: LanguageArtifact) -> None:
    """BadInput unless the adapter was trained on this very base, or on what this one was quantized from."""
    if adapter.kind is not ArtifactKind.LORA_ADAPTER or adapter.description is None:
        raise BadInput(f"{adapter.folder}: no artifact of kind lora-adapter")
    wanted = adapter.description.base
    known = {base.digest}
    if base.description is not None:
        known |= {source.digest for source in base.description.lineage.sources}
    if wanted is None or wanted.digest not in known:
        of = wanted.digest if wanted is not None else "no model"
        raise BadInput(f"{adapter.folder}: the adapter was trained on {of}, the base is {base.digest}")


def attach(model: "nn.Module", folder: Path) -> "nn.Module":
    """The model with the adapter in place, for evaluation. BadInput (AdapterNotApplied) unless every tensor lands."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    described(folder)
    try:
        tensors = load_file(folder / ADAPTER_FILE)
    except (SafetensorError, OSError) as error:
        raise Corrupt(f"{folder / ADAPTER_FILE}: not a safetensors file ({error})") from error
    _require_pairs(model, tensors, folder)
    peft = library()
    settings = peft.LoraConfig.from_pretrained(str(folder))
    settings.inference_mode = True
    made: nn.Module = peft.get_peft_model(model, settings)
    wanted = {name for name in made.state_dict() if ".lora_" in name}
    landed = {_in_model(name) for name in tensors}
    if wanted != landed:
        odd = min(wanted ^ landed)
        raise BadInput(f"{NOT_APPLIED}: {folder}: {odd} is only in one of adapter and model")
    peft.set_peft_model_state_dict(made, tensors)
    own = made.state_dict()
    for name, tensor in tensors.items():
        if own[_in_model(name)].shape != tensor.shape or not bool((own[_in_model(name)] == tensor).all()):
            raise BadInput(f"{NOT_APPLIED}: {folder}: {name} did not reach the model")
    return made.eval()


def _in_model(name: str) -> str:
    found = _TENSOR.fullmatch(name)
    return f"{found['layer']}.lora_{found['part']}.default.weight" if found else name


def _require_pairs(model: "nn.Module", tensors: "dict[str, torch.Tensor]", folder: Path) -> None:
    """Every tensor belongs to a layer of the model, and every layer has both of its factors."""
    layers = {name for name, _ in model.named_modules()}
    parts: dict[str, set[str]] = {}
    for name in tensors:
        found = _TENSOR.fullmatch(name)
        layer = found["layer"].removeprefix(_PREFIX) if found else name
        if found is None or layer not in layers:
            raise BadInput(f"{NOT_APPLIED}: {folder}: the model has no layer for {name}")
        parts.setdefault(layer, set()).add(found["part"])
    single = [layer for layer, held in parts.items() if held != {"A", "B"}]
    if not parts or single:
        raise BadInput(f"{NOT_APPLIED}: {folder}: {single[0] if single else 'no layer'} has both of its factors")


def merged(model: "nn.Module") -> "nn.Module":
    """The base model with the attached adapter added to its weights. BadInput where that leaves the numbers."""
    made: nn.Module = model.merge_and_unload(safe_merge=True)  # type: ignore[operator]
    return made.eval()


def merged_matrices(base: Path, adapter: Path) -> "dict[str, torch.Tensor]":
    """Matrices that an adapter changes, by the model's own names, in float32 with the adapter added.

    Of a quantized base its matrices as they are computed. BadInput as of `attach` and `merged`.
    """
    from workloads.language.weights import load

    attached = attach(load(base), adapter)
    names = [name for name, _ in attached.named_modules() if name.endswith(".lora_A")]
    layers = [name.removeprefix(_PREFIX).removesuffix(".lora_A") for name in names]
    model = merged(attached)
    return {f"{layer}.weight": model.get_parameter(f"{layer}.weight").detach() for layer in layers}
