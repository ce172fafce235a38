"""Jobs whose candidates are judged, published and proven in OpenVINO's engine, keys and values as they will serve."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slipway.api.common.language import ArtifactKind
from slipway.api.quantization.quantizationjob import QuantizationJobSpec
from workloads.language import artifacts, probes
from workloads.language.openvino import engine
from workloads.language.openvino.writer import write_openvino
from workloads.quantize import command

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
    listed = found.probes.probes
    assert all(probe.answer.margins for probe in listed)
    served = _answers(found.folder, listed)
    assert probes.compared(listed, served).reason == ""
    rows = {row["name"]: row for row in json.loads((found.folder / "report.json").read_text())["candidates"]}
    assert rows["rtn-int4"]["sizeBytes"] == (found.folder / "openvino_model.bin").stat().st_size


def _answers(folder: Path, listed: list[probes.Probe]) -> list[probes.Answer]:
    said = engine.answers(folder, [probe.prompt for probe in listed], len(listed[0].answer.tokens))
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
    write_openvino(damaged, tmp_path / "ir")
    served = _answers(tmp_path / "ir", found.probes.probes)
    assert probes.compared(found.probes.probes, served).reason == probes.MISMATCH


def test_the_cache_that_will_serve_is_gated_with_the_weights(job: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Eight bits of weights pass, as above; the same weights with keys and values in four bits do not."""
    target = {**ENGINE, "kvCachePrecision": "u4"}
    path = job(target=target, ladder=["weight-only-int8"], gates=CLOSE, onFailure="fail")
    assert command.main(["--config", str(path)]) == 3
    assert "agreement" in capsys.readouterr().out


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
