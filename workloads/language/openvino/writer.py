"""OpenVINO's folder of a causal language model, as openvino_genai.ContinuousBatchingPipeline loads it.

Made from the very tensors of a folder of Hugging Face's, floats or quantized, so that both forms hold one weight set.
"""

import json
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import TOKENIZER_FILE
from slipway.api.common.language import CONFIG_FILE, OPENVINO_FILES
from workloads.errors import BadInput
from workloads.language import adapters, artifacts
from workloads.language.config import checked, end_tokens, optional_json
from workloads.language.openvino.network import Network
from workloads.language.text_tokenizer import TextTokenizer
from workloads.libraries import extra, optional, quiet, transformers

GENERATION_FILE = "generation_config.json"
TOKENIZER, DETOKENIZER = "openvino_tokenizer.xml", "openvino_detokenizer.xml"
GENERATE = extra("generate")


def library() -> Any:
    """The package openvino with its operations. BadInput where it is missing."""
    found = optional("openvino", "OpenVINO's form of a model is written by openvino", GENERATE)
    optional("openvino.opset13", "OpenVINO's form of a model is written by openvino", GENERATE)
    return found


def write_openvino(folder: Path, out: Path, adapter: Path | None = None) -> None:
    """Write OpenVINO's form of a causal-lm's folder into `out`, a folder that holds nothing yet or these files.

    `folder`: Hugging Face's layout with a tokenizer.json, weights in safetensors, float or pack-quantized in 4 or 8
    bits. `adapter`: PEFT's folder of a LoRA of this model, which is added to the matrices that it changes; those are
    kept as floats then, of a quantized base too, so that the adapter is not rounded away.

    `out` gets openvino_model.xml and .bin (inputs input_ids, attention_mask, position_ids, beam_idx; output logits;
    keys and values as state), openvino_tokenizer and openvino_detokenizer, and the folder's own config.json,
    generation_config.json, tokenizer.json and chat template. config.json loses quantization_config, and its context is
    that of a sliding window where there is one: within it the model is the same.

    BadInput for a folder that cannot be read, a form that has no graph here, or a tokenizer that OpenVINO cannot take.
    Memory holds the weights once, as they are kept.
    """
    found = library()
    with quiet():
        changed = None if adapter is None else adapters.merged_matrices(folder, adapter)
        model = Network(folder, found, changed).model()
    out.mkdir(parents=True, exist_ok=True)
    artifacts.copy_beside(folder, out)
    ends = end_tokens(folder, checked(folder))
    defaults = optional_json(folder / GENERATION_FILE) | ({"eos_token_id": ends} if ends else {})
    for name, said in ((CONFIG_FILE, _configuration(folder)), (GENERATION_FILE, defaults)):
        (out / name).write_text(json.dumps(said, indent=2, sort_keys=True) + "\n")
    found.save_model(model, str(out / OPENVINO_FILES[0]), compress_to_fp16=False)
    _write_tokenizer(folder, out, found)


def _configuration(folder: Path) -> dict[str, Any]:
    config = {key: value for key, value in checked(folder).items() if key != "quantization_config"}
    window = config.get("sliding_window")
    if isinstance(window, int) and window > 0 and config.get("use_sliding_window", True):
        config["max_position_embeddings"] = min(window, config["max_position_embeddings"])
    return config


def _write_tokenizer(folder: Path, out: Path, found: Any) -> None:
    """The tokenizer of tokenizer.json as two graphs; the server's own cuts the texts, the engine needs its words."""
    own = TextTokenizer(folder)
    converter = optional("openvino_tokenizers", "OpenVINO's tokenizer is written by openvino_tokenizers", GENERATE)
    with quiet():
        made = transformers("OpenVINO's tokenizer is written by transformers").PreTrainedTokenizerFast(
            tokenizer_file=str(folder / TOKENIZER_FILE), **own.special
        )
        try:
            pair = converter.convert_tokenizer(made, with_detokenizer=True)
        except Exception as error:  # the library has no error of its own
            raise BadInput(f"{folder / TOKENIZER_FILE}: OpenVINO cannot take this tokenizer ({error})") from error
    for model, name in zip(pair, (TOKENIZER, DETOKENIZER), strict=True):
        found.save_model(model, str(out / name), compress_to_fp16=False)
