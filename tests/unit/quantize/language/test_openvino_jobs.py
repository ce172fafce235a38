"""Jobs whose candidates are judged, published and proven in OpenVINO's engine, keys and values as they will serve."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slipway.api.common.language import ArtifactKind
from slipway.api.quantization.gates import Gates
from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from slipway.api.quantization.status import Gate
from slipway.api.serving.generation import Generation
from workloads.language import artifacts, probes
from workloads.language.layerwise import Layerwise
from workloads.language.openvino import separate
from workloads.quantize import command
from workloads.quantize.language import judging
from workloads.quantize.language.gates import verdict
from workloads.serve.generation.loading import cache_precision

Write = Callable[..., Path]
ENGINE = {"runtime": "openvino"}
CLOSE = {"perplexity": {"maxIncrease": 0.02}, "agreement": {"minTop1": 0.985}}  # seen: 0.998, with u4 0.975


def test_what_passes_in_the_engine_is_published_as_its_graph_and_answers_its_probes_there(job: Write) -> None:
    path = job(target=ENGINE, ladder=["rtn-int4"], gates={"perplexity": {"maxIncrease": 0.15}})
    assert command.main(["--config", str(path)]) == 0
    found = artifacts.read(path.parent / "quantized")
    assert found.kind is ArtifactKind.OPENVINO_LM
    assert found.probes is not None
    assert (found.probes.measured["engine"], found.probes.measured["keyValueCache"]) == ("openvino", "f16")
    assert found.language is not None
    assert found.language.quantization is not None
    assert found.language.quantization.bits == 4
    assert found.description is not None
    facts = artifacts.facts_of(found.folder, found.description)
    assert facts.weights_bytes == (found.folder / "openvino_model.bin").stat().st_size
    assert (facts.cache_precision, facts.layers) == ("f16", found.language.layers)
    assert facts.quantized_from == found.description.lineage.sources[0].digest
    listed = found.probes.probes
    assert all(probe.answer.margins for probe in listed)
    served = _answers(found.folder, listed)
    assert probes.compared(listed, served).reason == ""
    rows = {row["name"]: row for row in json.loads((found.folder / "report.json").read_text())["candidates"]}
    assert rows["rtn-int4"]["sizeBytes"] == (found.folder / "openvino_model.bin").stat().st_size


def _answers(folder: Path, listed: list[probes.Probe]) -> list[probes.Answer]:
    said = separate.answers(folder, [probe.prompt for probe in listed], len(listed[0].answer.tokens))
    return [probes.Answer(*one) for one in said]


def test_the_served_graph_of_another_model_does_not_answer_the_probes(job: Write, model: Path, tmp_path: Path) -> None:
    """A float model that was damaged after it was judged: one layer's weights times 1.5."""
    from safetensors.torch import load_file, save_file

    path = job(target=ENGINE, ladder=["weight-only-int8"], gates=CLOSE)
    assert command.main(["--config", str(path)]) == 0
    found = artifacts.read(path.parent / "quantized")
    assert found.probes is not None
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for one in model.iterdir():
        (damaged / one.name).write_bytes(one.read_bytes())
    tensors = load_file(damaged / "model.safetensors")
    tensors |= {name: one * 1.5 for name, one in tensors.items() if "layers.1.mlp.down_proj" in name}
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})
    separate.write(damaged, tmp_path / "ir")
    served = _answers(tmp_path / "ir", found.probes.probes)
    assert probes.compared(found.probes.probes, served).reason == probes.MISMATCH


def test_the_cache_that_will_serve_is_gated_with_the_weights(job: Write, model: Path) -> None:
    """The gates hold for 8 bits of keys and values too, and are said to; in 4 bits, which nobody may ask for, not."""
    path = job(target={**ENGINE, "kvCachePrecision": "u8"}, ladder=["weight-only-int8"])
    assert command.main(["--config", str(path)]) == 0
    found = artifacts.read(path.parent / "quantized")
    assert found.probes is not None
    assert found.probes.measured["keyValueCache"] == "u8"
    assert cache_precision(Generation(), found) == "u8"
    assert cache_precision(Generation.model_validate({"kvCache": {"precision": "f32"}}), found) == "f32"
    texts = [torch.randint(5, 500, (1, 64), generator=torch.Generator().manual_seed(at)) for at in range(4)]
    gates = Gates.model_validate({"divergence": {"maxMeanKL": 5e-5}})  # seen: 1e-6, and 6e-4 of u4
    whole = Layerwise(model)
    for cache, passes in (("f16", True), ("u4", False)):
        judged = judging.judge(whole, separate.Paged(found.folder, cache), texts)
        (gate,) = [one for one in verdict(judged, 0.3, gates).gates if one.name is Gate.DIVERGENCE]
        assert gate.passed is passes


@pytest.mark.parametrize(
    ("target", "words"),
    [({"runtime": "tensorrt", "hardware": "nvidia"}, "tensorrt"), ({"kvCachePrecision": "u8"}, "set runtime openvino")],
)
def test_an_engine_that_runs_no_language_models_is_refused(
    target: dict[str, Any], words: str, job: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--config", str(job(target=target, ladder=["rtn-int4"]))]) == 2
    assert words in capsys.readouterr().err
    assert "kvCachePrecision" in str(QuantizationJobSpec.model_json_schema(by_alias=True))
