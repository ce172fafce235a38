"""8-bit floats: written as llm-compressor writes them, judged with inputs rounded, and never for an engine without."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from safetensors.torch import load_file

from slipway.api.quantization.ladder import Rung
from tests.unit.quantize.language.test_language_jobs import built
from workloads.errors import BadInput
from workloads.language import artifacts, float8, weights
from workloads.language.layerwise import Layerwise
from workloads.quantize import command
from workloads.quantize.language.rounding import Scheme


@given(arrays("float32", (3, 16), elements=st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)))
def test_rounding_is_off_by_a_sixteenth_at_most_or_by_the_least_step(values: object) -> None:
    given_ = torch.from_numpy(values)  # type: ignore[arg-type]
    numbers, scale = float8.rounded(given_)
    off = (numbers.float() * scale - given_).abs()
    assert bool((off <= given_.abs() / 16 + scale * 2**-9).all())


def test_a_model_in_eight_bit_floats_is_published_as_vllm_reads_it(job: Callable[..., Path], model: Path) -> None:
    path = job(ladder=["fp8-dynamic"], gates={"perplexity": {"maxIncrease": 0.05}})
    assert command.main(["--config", str(path)]) == 0
    found = artifacts.read(path.parent / "quantized")
    assert found.language is not None
    assert found.language.quantization is not None
    assert (found.language.quantization.method, found.language.quantization.bits) == ("fp8-dynamic", 8)
    said = json.loads((found.folder / "config.json").read_text())["quantization_config"]
    assert said["config_groups"]["group_0"]["input_activations"]["strategy"] == "token"
    tensors = load_file(found.folder / "model-layer-00000.safetensors")
    weight = tensors["model.layers.0.mlp.up_proj.weight"]
    assert weight.dtype is torch.float8_e4m3fn
    assert tensors["model.layers.0.mlp.up_proj.weight_scale"].shape == (len(weight), 1)
    before = weights.load(model).get_parameter("model.layers.0.mlp.up_proj.weight").detach()
    after = weights.load(found.folder).get_parameter("model.layers.0.mlp.up_proj.weight").detach()
    assert float((after - before).norm()) < 0.05 * float(before.norm())


def test_inputs_are_rounded_when_the_model_is_judged(model: Path, tmp_path: Path) -> None:
    at = built(model, tmp_path / "c", Rung.FP8_DYNAMIC, Scheme(8, 64, symmetric=True), [])
    text = torch.arange(5, 45)[None]
    with torch.no_grad():
        plain = weights.load(at)(input_ids=text).logits
    off = float((Layerwise(at)(text).logits - plain).abs().max())
    assert 1e-3 < off < 2.0


def test_openvino_has_no_such_rung(job: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = job(ladder=["fp8-dynamic"], target={"runtime": "openvino"})
    assert command.main(["--config", str(path)]) == 2
    assert "target.runtime" in capsys.readouterr().err


def test_eight_bit_floats_without_a_scale_are_refused(model: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from workloads.errors import Corrupt

    at = built(model, tmp_path / "c", Rung.FP8_DYNAMIC, Scheme(8, 64, symmetric=True), [])
    name = "model-layer-00000.safetensors"
    kept = {one: tensor for one, tensor in load_file(at / name).items() if not one.endswith("up_proj.weight_scale")}
    save_file(kept, at / name)
    with pytest.raises((Corrupt, BadInput), match="up_proj"):
        weights.load(at)
