"""Models of Hugging Face's folders: any architecture of transformers itself, with the head that the data asks for.

A folder has config.json and safetensors files. It is read from a path or a bucket; no code of a folder is ever run, and
no pickle opened. What is built is remembered as the configuration itself, so an artifact needs no folder.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from workloads.errors import BadInput
from workloads.libraries import TEXT, optional
from workloads.models.registry import Boxes, Images, Text

NAME = "hugging-face"
CONFIG = "config.json"
PICKLES = (".bin", ".pt", ".pth")
HEADS = {
    head: f"AutoModelFor{task}"
    for head, task in (
        ("causal", "CausalLM"),
        ("sequence", "SequenceClassification"),
        ("image", "ImageClassification"),
    )
}
# What says where a configuration is from and not what is built.
NOT_BUILT = (
    *("_name_or_path", "_commit_hash", "transformers_version", "auto_map", "architectures", "torch_dtype", "dtype"),
    *("id2label", "label2id", "quantization_config"),
)


def _library() -> Any:
    return optional("transformers", "model hugging-face is built by transformers", TEXT)


class HuggingFace(nn.Module):
    """A model of transformers that takes and gives one tensor.

    Tokens int64 [n, length] or pictures float32 [n, channels, height, width]; logits [n, classes], or
    [n, length, vocabulary] of the token that comes next.
    """

    def __init__(self, network: nn.Module, head: str, padding: int, outputs: int) -> None:
        super().__init__()
        self.network = network
        self._head, self._padding, self._outputs = head, padding, outputs
        config: Any = network.config
        self._channels = int(getattr(config, "num_channels", 3))

    def forward(self, given: Tensor) -> Tensor:
        """Logits of a batch."""
        logits: Tensor
        if self._head == "image":
            logits = self.network(given.expand(-1, self._channels, -1, -1)).logits
        elif self._head == "sequence":
            logits = self.network(input_ids=given, attention_mask=(given != self._padding).long()).logits
        else:
            logits = self.network(input_ids=given).logits
        return logits[..., : self._outputs]  # a vocabulary may be filled up for the hardware


def arguments(name: str, data: Images | Text, folder: Path) -> dict[str, bool | int | float | str]:
    """Arguments of the constructor for this data. BadInput where folder and data do not fit."""
    config = _config(folder)
    if isinstance(data, Boxes):
        raise BadInput(f"model {name} answers classes or tokens, and the data set holds boxes: choose yolo")
    if isinstance(data, Text):
        _require(config, data.length, "max_position_embeddings", "dataset.sequenceLength")
        _require(config, data.vocabulary, "vocab_size", "the number of the tokenizer's tokens")
        head = "sequence" if data.classes else "causal"
        outputs, padding = data.classes or data.vocabulary, data.padding
    else:
        head, outputs, padding = "image", data.classes, 0
        sizes = config.get("image_size")
        if isinstance(sizes, int) and data.height != sizes:
            raise BadInput(
                f"this model's pictures have {sizes} pixels, the data's {data.height}: set dataset.imageSize"
            )
        if data.channels not in {1, config.get("num_channels", 3)}:
            raise BadInput(f"this model's pictures have {config['num_channels']} channels, the data's {data.channels}")
    known = {key: value for key, value in config.items() if key not in NOT_BUILT}
    return {"config": json.dumps(known, sort_keys=True), "head": head, "outputs": outputs, "padding": padding}


def build(_name: str, *, config: str, head: str, outputs: int, padding: int) -> nn.Module:
    """A new model with the weights that transformers gives it."""
    library = _library()
    settings = _settings(library, json.loads(config), head, outputs, padding)
    return HuggingFace(getattr(library, HEADS[head]).from_config(settings).float(), head, padding, outputs)


def load(model: nn.Module, folder: Path) -> list[str]:
    """Load the folder's weights into a model of `build`. Returns the names of what begins anew: the head, where it is
    another one. BadInput for a folder without safetensors, or of another model.
    """
    if not isinstance(model, HuggingFace):
        raise BadInput(f"{folder}: a folder of Hugging Face's: set model.name hugging-face, or name a file in it")
    if not [*folder.glob("*.safetensors")]:
        pickles = ", ".join(sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)[:3])
        more = f"; {pickles} may run any program, and is not opened" if pickles else ""
        raise BadInput(f"{folder}: no .safetensors file there{more}: save it by save_pretrained(...)")
    own = model.network
    before = {name: tensor.clone() for name, tensor in own.state_dict().items()}
    library = _library()
    level = library.logging.get_verbosity()
    library.logging.set_verbosity_error()  # what begins anew is told by the caller
    library.logging.disable_progress_bar()
    try:
        found, said = type(own).from_pretrained(  # type: ignore[attr-defined]
            str(folder),
            config=own.config,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise BadInput(f"{folder}: its weights cannot be read ({str(error).strip().splitlines()[0]})") from error
    finally:
        library.logging.set_verbosity(level)
        library.logging.enable_progress_bar()
    missing = {str(name) for name in said["missing_keys"]}
    missing |= {str(one[0] if isinstance(one, tuple) else one) for one in said.get("mismatched_keys", ())}
    body = str(getattr(own, "base_model_prefix", ""))
    lost = sorted(name for name in missing if body and name.startswith(f"{body}.") and "pooler" not in name)
    if lost:
        raise BadInput(f"{folder}: the weights are of another model, for example there is no {lost[0]} of this shape")
    state = found.state_dict()
    own.load_state_dict({name: before[name] if name in missing else state[name] for name in before})
    return [f"network.{name}" for name in sorted(missing & set(before))]


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadInput(f"{folder}: not a folder of Hugging Face's, {CONFIG} cannot be read ({error})") from error
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise BadInput(f"{path}: it names no model_type")
    if "quantization_config" in found:
        raise BadInput(f"{folder}: its weights are quantized, and training needs those in 16 or 32 bits: choose them")
    return found


def _settings(library: Any, config: dict[str, Any], head: str, outputs: int, padding: int) -> Any:
    """Configuration as transformers wants it. BadInput for a model that it does not have, or without such a head."""
    kind = str(config.pop("model_type"))
    try:
        settings = library.AutoConfig.for_model(kind, **config)
    except (ValueError, KeyError, TypeError) as error:
        words = "a model that brings its own code is not run here: name one of transformers', or use model custom"
        raise BadInput(f"transformers {library.__version__} here has no model {kind!r}: {words}") from error
    family = getattr(library, HEADS[head])
    if type(settings) not in family._model_mapping:
        raise BadInput(f"model {kind} has no head for this data ({HEADS[head]}): choose another model or data set")
    if head != "causal":
        settings.num_labels = outputs
    settings.use_cache = False
    if head == "sequence":
        settings.pad_token_id = padding
    return settings


def _require(config: dict[str, Any], needed: int, field: str, what: str) -> None:
    known = config.get(field)
    if isinstance(known, int) and needed > known:
        raise BadInput(f"{what} is {needed}, and this model's {field} is {known}: lower it, or choose another model")
