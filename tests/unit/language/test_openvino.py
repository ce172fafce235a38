"""OpenVINO's form of a model answers as transformers does: every family, floats and few bits, alone, in the engine."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slipway.api.quantization.ladder import Rung
from tests.unit.language.conftest import tiny
from workloads.errors import BadInput
from workloads.language import scoring, weights
from workloads.language.layerwise import Layerwise
from workloads.language.openvino import engine, separate
from workloads.language.openvino.network import Network
from workloads.language.openvino.writer import library
from workloads.language.text_tokenizer import TextTokenizer
from workloads.quantize.language.candidate import Wanted, build
from workloads.quantize.language.rounding import Scheme

CLOSE = 1e-3  # nats; seen are 4e-6
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 1e4}
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu"}),
    "llama3's angles": ("llama", {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 16}}),
    "yarn": (
        "llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "rope_theta": 1e4,
            }
        },
    ),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"tie_word_embeddings": True}),
    "gpt2": ("gpt2", {}),
    "gpt2 scaled by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
}


def graph_answers(folder: Path, ids: Any, mask: Any, places: Any) -> list[Any]:
    """Logits of three steps by the graph alone."""
    compiled = library().Core().compile_model(Network(folder, library()).model(), "CPU", engine.PROPERTIES)
    request, parts = compiled.create_infer_request(), []
    for start, end in ((0, 12), (12, 13), (13, 20)):
        given = {
            "input_ids": ids[:, start:end],
            "attention_mask": mask[:, :end],
            "position_ids": places[:, start:end],
            "beam_idx": np.arange(2, dtype=np.int32),
        }
        parts.append(request.infer(given)["logits"].copy())
    return parts


def constants(ir: Path) -> list[str]:
    """Number formats of a folder's constants."""
    nodes = library().Core().read_model(ir / "openvino_model.xml").get_ops()
    return [one.get_element_type().get_type_name() for one in nodes if one.get_type_name() == "Constant"]


def graph(folder: Path) -> None:
    """Make the graph of a folder."""
    Network(folder, library()).model()


@pytest.mark.parametrize("form", FORMS)
def test_the_graph_answers_as_transformers_does_in_steps_and_behind_padding(form: str, tmp_path: Path) -> None:
    family, more = FORMS[form]
    folder = tiny(family, tmp_path / "model", **more)
    ids = torch.randint(0, 99, (2, 20), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :5] = 0
    places = (mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        wanted = weights.load(folder)(input_ids=ids, attention_mask=mask, position_ids=places).logits.log_softmax(-1)
    given = [one.numpy() for one in (ids, mask, places)]
    parts = [torch.from_numpy(part) for part in separate.apart(graph_answers, folder, *given)]
    off = (torch.cat(parts, 1).log_softmax(-1) - wanted).abs()
    assert float(off[0].max()) < CLOSE
    assert float(off[1, 5:].max()) < CLOSE


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gpt2"])
def test_the_engine_answers_as_transformers_does(family: str, small: Path, tmp_path: Path) -> None:
    folder = tiny(family, tmp_path / "model")
    shutil.copy(small / "tokenizer.json", folder / "tokenizer.json")
    separate.write(folder, tmp_path / "ir")
    prompts = [[1, 2, 3, 4], [5, 6, 7, 8, 9, 10, 11]]
    _same(tmp_path / "ir", weights.load(folder), prompts)


def _same(ir: Path, model: torch.nn.Module, prompts: list[list[int]]) -> None:
    wanted = scoring.greedy(model, prompts)
    for one, (tokens, values) in zip(wanted, separate.answers(ir, prompts, scoring.ANSWER_TOKENS, "f32"), strict=True):
        assert tokens == one.tokens
        assert max(abs(found - told) for found, told in zip(values, one.log_probabilities, strict=True)) < CLOSE


@pytest.mark.parametrize(
    ("bits", "symmetric", "kept", "kind"),
    [
        (4, False, torch.bfloat16, "u4"),
        (4, True, torch.float32, "i4"),
        (8, False, torch.float16, "u8"),
        (8, True, torch.float32, "i8"),
    ],
)
def test_few_bits_stay_few_and_the_engine_answers_as_the_packed_folder(
    bits: int, symmetric: bool, kept: torch.dtype, kind: str, small: Path, tmp_path: Path
) -> None:
    packed, ir = tmp_path / "packed", tmp_path / "ir"
    build(Layerwise(small), small, Wanted(Rung.RTN_INT4, Scheme(bits, 32, symmetric, kept)), [], packed)
    separate.write(packed, ir)
    prompts = scoring.prompts_of(TextTokenizer(small), [], 512)
    _same(ir, Layerwise(packed), prompts)
    held = separate.apart(constants, ir)
    assert held.count(kind) >= 14  # seven matrices of each of two layers
    text = torch.randint(5, 500, (1, 75), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wanted = Layerwise(packed)(input_ids=text).logits[0]
    for cache, close in (("f32", CLOSE), ("f16", 0.02), ("u8", 0.2)):
        (found,) = separate.Paged(ir, cache).each([text])
        assert float((found - wanted).abs().max()) < close


def test_what_has_no_graph_is_refused_in_words(tmp_path: Path) -> None:
    rotary = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4, "original_max_position_embeddings": 64}
    for more, words in (({"rope_parameters": rotary}, "dynamic"), ({"hidden_act": "relu6"}, "relu6")):
        folder = tiny("llama", tmp_path / words, **more)
        with pytest.raises(BadInput, match=words):
            separate.apart(graph, folder)


def test_a_sliding_window_is_the_context_that_is_served(small: Path, tmp_path: Path) -> None:
    import json

    folder = tiny("mistral", tmp_path / "model", sliding_window=16)
    shutil.copy(small / "tokenizer.json", folder / "tokenizer.json")
    separate.write(folder, tmp_path / "ir")
    assert json.loads((tmp_path / "ir" / "config.json").read_text())["max_position_embeddings"] == 16
