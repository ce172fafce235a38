"""Fine-tuning for real: killed and resumed to the same bytes, the same by one process and by two, proven at the end."""

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from slipway.api.common.language import LanguageFacts
from slipway.trainingjob.status import artifact_of
from tests.models.language import small
from tests.unit.train.fine_tuning.tuning import job, saved
from tests.unit.train.processes import train, wait_for
from workloads.language import adapters, artifacts, probes, scoring, weights


def run(config: Path, count: int = 1, killed_after: str | None = None) -> str:
    """Train to the end, or until a line of the log holds the words. Returns the log."""
    with train(
        config, count, config.parent / "logs", SLIPWAY_TERMINATION_LOG=f"{config.parent}/termination"
    ) as running:
        if killed_after is not None:
            wait_for(
                lambda: running[0].process.exitcode is not None or saved(config, running[0].output, killed_after), "it"
            )
            with contextlib.suppress(ProcessLookupError):  # on a busy machine it may have ended by itself
                os.kill(running[0].process.pid, signal.SIGKILL)
            for one in running[1:]:
                os.kill(one.process.pid, signal.SIGKILL)
        codes = [one.wait() for one in running]
        output = running[0].output
    assert killed_after is not None or codes == [0] * count, output
    return output


def adapter_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "adapter_model.safetensors")


def metrics_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "model" / "artifact.json").read_text())["metrics"]


def places(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def test_an_adapter_is_the_same_after_a_kill_and_answers_its_probes(tmp_path: Path) -> None:
    first, second = places(tmp_path, "first", "second")
    run(job(first, dataset={"packing": True}))
    run(job(second, dataset={"packing": True}), killed_after="epoch 1/2")
    again = run(job(second, dataset={"packing": True}))
    assert "resumed from step" in again or "nothing left" in again
    ours, theirs = adapter_of(first), adapter_of(second)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    metrics = metrics_of(first)
    assert metrics["loss"] < metrics["lossBefore"] - 0.5
    assert metrics == metrics_of(second)
    assert 0.3 < metrics["labelledTokenShare"] < 0.6

    found = artifacts.read(first / "model")
    adapters.require_base(found, artifacts.read(small.folder()))
    told = artifact_of((first / "termination").read_text())
    assert told is not None
    assert told.language == LanguageFacts(kind="lora-adapter", base=artifacts.read(small.folder()).digest)
    assert found.probes is not None
    assert probes.distinct(found.probes.probes)
    asked = [probe.prompt for probe in found.probes.probes]
    base = weights.load(small.folder())
    assert probes.compared(found.probes.probes, scoring.greedy(base, asked)).reason == probes.NOT_APPLIED
    attached = adapters.attach(base, first / "model")
    assert probes.compared(found.probes.probes, scoring.greedy(attached, asked)).reason == ""
    assert sum(path.stat().st_size for path in (first / "checkpoints").rglob("*.distcp")) < 2 * 10**6


@pytest.mark.slow
@pytest.mark.parametrize("peft", [{"r": 4}, None])
def test_two_processes_and_accumulation_learn_what_one_large_batch_does(
    peft: dict[str, Any] | None, tmp_path: Path
) -> None:
    plain, parts, two = places(tmp_path, "plain", "parts", "two")
    sgd = {"optimizer": {"name": "sgd", "learningRate": 0.1}, "peft": peft, "epochs": 1}
    run(job(plain, **sgd))
    run(job(parts, gradientAccumulationSteps=4, **sgd))
    run(job(two, gradientAccumulationSteps=2, **sgd), count=2)
    name = "adapter_model.safetensors" if peft else "model.safetensors"
    whole, *others = [load_file(folder / "model" / name) for folder in (plain, parts, two)]
    for other in others:
        assert max(float((whole[name] - other[name]).abs().max()) for name in whole) < 1e-4


@pytest.mark.slow
def test_a_whole_model_keeps_its_tied_weights_and_is_read_by_transformers(tmp_path: Path) -> None:
    run(job(tmp_path, peft=None, optimizer={"name": "adamw", "learningRate": 0.003}))
    found = artifacts.read(tmp_path / "model")
    model = weights.load(found.folder)
    assert "lm_head.weight" not in load_file(found.folder / "model.safetensors")
    assert metrics_of(tmp_path)["loss"] < metrics_of(tmp_path)["lossBefore"]
    from workloads.libraries import transformers

    theirs = transformers("tests").AutoModelForCausalLM.from_pretrained(found.folder)
    ids = torch.arange(30)[None]
    assert torch.equal(model(input_ids=ids).logits, theirs(input_ids=ids).logits)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "qlora"])
def test_both_adapter_and_merged_model_are_published_and_proven(method: str, tmp_path: Path) -> None:
    run(job(tmp_path, output={"merge": "both"}, peft={"method": method, "r": 4, "useRslora": True}))
    merged, adapter = artifacts.read(tmp_path / "model"), artifacts.read(tmp_path / "model-adapter")
    assert (merged.kind.value, adapter.kind.value) == ("causal-lm", "lora-adapter")
    assert merged.probes is not None
    assert adapter.probes is not None
    asked = [probe.prompt for probe in adapter.probes.probes]
    answers = scoring.greedy(weights.load(merged.folder), asked)
    assert probes.compared(merged.probes.probes, answers).reason == ""
    # Of qlora the merged model has the base that was trained on, in four bits.
    assert (probes.compared(adapter.probes.probes, answers).reason == "") == (method == "lora")


@pytest.mark.slow
def test_fsdp_trains_adapters_to_the_same_end(tmp_path: Path) -> None:
    plain, sharded = places(tmp_path, "plain", "sharded")
    run(job(plain, peft={"r": 4}))
    config = job(sharded, peft={"r": 4})
    said = json.loads(config.read_text())
    said["spec"]["strategy"] = {"name": "FSDP2"}
    config.write_text(json.dumps(said))
    run(config, count=2)
    ours, theirs = adapter_of(plain), adapter_of(sharded)
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 5e-3


@pytest.mark.slow
def test_an_adapter_that_learned_nothing_is_not_published(tmp_path: Path) -> None:
    config = job(tmp_path, peft={"r": 4}, epochs=1, optimizer={"learningRate": 1e-9}, rehearsal=False)
    with train(config, 1, tmp_path / "logs") as running:
        assert running[0].wait() == 2
        assert "NothingLearned" in running[0].output
    assert not (tmp_path / "model").exists()
