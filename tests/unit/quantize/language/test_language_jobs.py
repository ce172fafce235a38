"""Jobs of language models for real: int4 that passes is published and proven, damage is not, kills change nothing."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from slipway.api.quantization.ladder import Rung
from tests.models.language import small
from tests.unit.language.conftest import tiny
from workloads import libraries
from workloads.errors import BadInput
from workloads.language import artifacts, packed, probes, scoring, weights
from workloads.language.layerwise import Layerwise
from workloads.quantize import command
from workloads.quantize.language import candidate, judging
from workloads.quantize.language.candidate import Wanted
from workloads.quantize.language.rounding import Scheme

Write = Callable[..., Path]


def run(path: Path) -> int:
    return command.main(["--config", str(path)])


def report_of(path: Path) -> dict[str, Any]:
    return json.loads((path.parent / "quantized" / "report.json").read_text())


def test_the_first_rung_that_passes_is_published_and_answers_its_probes(job: Write, model: Path) -> None:
    path = job(ladder=["rtn-int4", "weight-only-int8"], gates={"perplexity": {"maxIncrease": 0.15}})
    assert run(path) == 0
    found = artifacts.read(path.parent / "quantized")
    assert found.language is not None
    assert found.language.quantization is not None
    assert (found.language.quantization.bits, found.language.quantization.method) == (4, "rtn-int4")
    served = weights.load(found.folder)
    assert found.probes is not None
    answers = scoring.greedy(served, [probe.prompt for probe in found.probes.probes])
    assert probes.compared(found.probes.probes, answers).reason == ""
    rows = {row["name"]: row for row in report_of(path)["candidates"]}
    assert rows["rtn-int4"]["sizeBytes"] < 0.55 * rows["float"]["sizeBytes"]  # a quarter of it is the embedding
    assert rows.keys() == {"float", "rtn-int4"}

    # What the report says is what anybody finds in the published files.
    documents = [torch.randint(5, 500, (1, 20), generator=torch.Generator().manual_seed(seed)) for seed in range(2)]
    whole, layers = served, Layerwise(found.folder)
    for ids in documents:
        torch.testing.assert_close(layers(ids).logits, whole(input_ids=ids).logits, atol=1e-4, rtol=1e-4)


def test_what_does_not_pass_is_never_published(job: Write) -> None:
    path = job(ladder=["rtn-int4"], gates={"perplexity": {"maxIncrease": 0.0}}, onFailure="fail")
    assert run(path) == 3
    assert not (path.parent / "quantized").exists()
    kept = job(ladder=["rtn-int4"], gates={"perplexity": {"maxIncrease": 0.0}})
    assert run(kept) == 0
    assert artifacts.read(path.parent / "quantized").language.quantization is None  # type: ignore[union-attr]
    assert report_of(path)["outcome"] == "kept-float"


@pytest.fixture(scope="module")
def documents(texts: dict[str, str], model: Path) -> list[torch.Tensor]:
    from workloads.language.text_tokenizer import TextTokenizer

    tokenizer, lines = TextTokenizer(model), Path(texts["evaluation"].removeprefix("file://"), "test.jsonl")
    found = [json.loads(line)["text"] for line in lines.read_text().splitlines()]
    return [torch.tensor([tokenizer.encode(text).ids[:128]]) for text in found[:24]]


def built(model: Path, at: Path, rung: Rung, scheme: Scheme, calibration: list[torch.Tensor]) -> Path:
    candidate.build(Layerwise(model), model, Wanted(rung, scheme), calibration, at)
    return at


@pytest.mark.parametrize("damage", ["int2", "one layer's scales"])
def test_a_model_that_was_damaged_on_purpose_is_refused(
    damage: str, model: Path, documents: list[torch.Tensor], tmp_path: Path
) -> None:
    from slipway.api.quantization.gates import Gates
    from workloads.quantize.language.gates import verdict

    scheme = Scheme(2, 64, symmetric=True) if damage == "int2" else Scheme(8, 32, symmetric=False)
    at = built(model, tmp_path / "c", Rung.RTN_INT4, scheme, [])
    if damage != "int2":
        judged = judging.judge(Layerwise(model), Layerwise(at), documents)
        assert verdict(judged, 0.5, Gates()).passed
        tensors = load_file(at / "model-layer-00001.safetensors")
        for name in tensors:
            if name.endswith("scale"):
                tensors[name] = tensors[name] * 1.5
        save_file(tensors, at / "model-layer-00001.safetensors")
    judged = judging.judge(Layerwise(model), Layerwise(at), documents)
    assert not verdict(judged, 0.5, Gates()).passed


def test_renamed_tensors_of_a_quantized_model_are_refused(model: Path, tmp_path: Path) -> None:
    at = built(model, tmp_path / "c", Rung.RTN_INT4, Scheme(4, 32, symmetric=True), [])
    name = "model-layer-00000.safetensors"
    tensors = {one.replace("up_proj", "up_projection"): tensor for one, tensor in load_file(at / name).items()}
    save_file(tensors, at / name)
    index = json.loads((at / "model.safetensors.index.json").read_text())
    index["weight_map"] = {
        one.replace("up_proj", "up_projection") if file == name else one: file
        for one, file in index["weight_map"].items()
    }
    (at / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BadInput, match="up_proj"):
        weights.load(at)


@pytest.mark.parametrize("rung", [Rung.AWQ_INT4, Rung.GPTQ_INT4])
def test_calibrated_rungs_are_no_worse_than_rounding(
    rung: Rung, model: Path, documents: list[torch.Tensor], tmp_path: Path
) -> None:
    float_model, scheme = Layerwise(model), Scheme(4, 64, symmetric=False)
    losses = {}
    for one in (Rung.RTN_INT4, rung):
        at = built(model, tmp_path / one.value, one, scheme, documents[:12])
        losses[one] = sum(judging.judge(float_model, Layerwise(at), documents[12:]).divergence)
    assert losses[rung] < losses[Rung.RTN_INT4] * 1.02


def test_a_build_that_was_killed_goes_on_to_the_same_bytes(
    model: Path, documents: list[torch.Tensor], tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(number: int) -> None:
        if number == 1:
            raise Killed

    scheme, wanted = Scheme(4, 32, symmetric=False), Rung.GPTQ_INT4
    first = built(model, tmp_path / "first", wanted, scheme, documents[:4])
    with pytest.raises(Killed):
        candidate.build(Layerwise(model), model, Wanted(wanted, scheme), documents[:4], tmp_path / "second", kill)
    (tmp_path / "second/.model-layer-00001.safetensors").write_bytes(b"half")
    second = built(model, tmp_path / "second", wanted, scheme, documents[:4])
    for path in first.glob("*.safetensors"):
        assert path.read_bytes() == (second / path.name).read_bytes()


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_other_families_are_computed_layer_by_layer_and_in_sixteen_bits(family: str, tmp_path: Path) -> None:
    tiny(family, tmp_path / "m")
    ids = torch.arange(12)[None]
    torch.testing.assert_close(
        Layerwise(tmp_path / "m")(ids).logits, weights.load(tmp_path / "m")(input_ids=ids).logits
    )
    at = built(tmp_path / "m", tmp_path / "c", Rung.AWQ_INT4, Scheme(8, 8, False, torch.float16), [ids])
    assert (
        load_file(at / "model-layer-00000.safetensors")["model.layers.0.mlp.up_proj.weight_scale"].dtype
        == torch.float16
    )
    assert bool(weights.load(at)(input_ids=ids).logits.isfinite().all())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"weights": {"groupSize": 48}}, "does not divide"),
        ({"ladder": ["dynamic"]}, "not for language models"),
        ({"evaluation": {"dataset": {"name": "digits"}}}, "judged on texts"),
        ({"ladder": ["rtn-int4", "dynamic"]}, "no other rung"),
        ({"ladder": ["gptq-int4"], "calibration": None}, "set calibration"),
    ],
)
def test_jobs_that_make_no_sense_end_in_words(
    more: dict[str, Any], words: str, job: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(job(**{"ladder": ["rtn-int4"], **more})) == 2
    assert words in capsys.readouterr().err


def test_named_layers_stay_float(model: Path, tmp_path: Path) -> None:
    wanted = Wanted(Rung.RTN_INT4, Scheme(4, 32, symmetric=False), ["down_proj", "model.layers.0.self_attn.*"])
    candidate.build(Layerwise(model), model, wanted, [], tmp_path / "c")
    names = set(load_file(tmp_path / "c/model-layer-00000.safetensors"))
    assert {"model.layers.0.mlp.down_proj.weight", "model.layers.0.self_attn.q_proj.weight"} <= names
    assert "model.layers.0.mlp.up_proj.weight_packed" in names
    ignored = json.loads((tmp_path / "c/config.json").read_text())["quantization_config"]["ignore"]
    assert {"lm_head", "model.layers.1.mlp.down_proj"} <= set(ignored)


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_library_of_the_format_reads_what_is_written(symmetric: bool, model: Path, tmp_path: Path) -> None:
    """compressed-tensors, from an environment of its own: the same matrices to the last bit."""
    place = small.cache() / "peers" / "compressed-tensors"
    if not place.is_dir():
        pytest.skip(f"needs the packages compressed-tensors and loguru, without what they need, in {place}")
    at = built(model, tmp_path / "c", Rung.RTN_INT4, Scheme(4, 32, symmetric), [])
    libraries.transformers("tests")
    sys.path.append(str(place))
    try:
        from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    except ImportError:
        from compressed_tensors.compressors import unpack_from_int32
    finally:
        sys.path.remove(str(place))
    tensors, name = load_file(at / "model-layer-00001.safetensors"), "model.layers.1.mlp.up_proj"
    shape = torch.Size(tensors[f"{name}.weight_shape"].tolist())
    theirs = unpack_from_int32(tensors[f"{name}.weight_packed"], 4, shape).float().reshape(shape[0], -1, 32)
    if not symmetric:
        packed_zeros = tensors[f"{name}.weight_zero_point"]
        zeros = unpack_from_int32(packed_zeros, 4, torch.Size([shape[0], shape[1] // 32]), packed_dim=0)
        theirs = theirs - zeros.float()[..., None]
    theirs = (theirs * tensors[f"{name}.weight_scale"][..., None]).reshape(shape)
    assert torch.equal(theirs, packed.opened(at).tensor(f"{name}.weight"))
    shutil.rmtree(at)
