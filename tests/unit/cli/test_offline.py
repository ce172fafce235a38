"""`slipway plan` and `slipway local`: the commands that need no cluster, called as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.cli.cluster import Cluster
from slipway.cli.report import UnreachableError, fetch, reader
from tests.cluster.paths import REPOSITORY
from workloads.__main__ import COMMANDS

EXAMPLES = REPOSITORY / "manifests" / "examples"
OURS = sorted(path for path in EXAMPLES.glob("*.yaml") if "slipway.dev/v1alpha1" in path.read_text())


def slipway(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(words))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_every_example_has_a_plan(path: Path) -> None:
    code, text = slipway("plan", str(path), "--output", "json")
    assert code == 0, text
    for one in json.loads(text):
        assert not one["problems"]
        if one["kind"].endswith("Runtime"):
            continue
        suspended = "Suspended" in {c["type"] for c in one["status"].get("conditions", []) if c["status"] == "True"}
        assert suspended or {made["kind"] for made in one["creates"]} & {"Pod", "Deployment"}, one


def test_the_plan_of_a_chain_takes_sources_from_the_file(tmp_path: Path) -> None:
    chain = "---\n".join((EXAMPLES / f"{name}.yaml").read_text() for name in ("trainingjob", "quantizationjob"))
    (tmp_path / "chain.yaml").write_text(chain)
    code, text = slipway("plan", str(tmp_path / "chain.yaml"))
    assert code == 0
    assert "creates Pod digits-node-1-a0, cpu 1, memory 2Gi" in text
    assert "assuming that TrainingJob digits of this file succeeds with pvc://slipway-artifacts/digits" in text


def test_the_plan_of_a_job_says_what_its_runtime_fills_in(tmp_path: Path) -> None:
    code, text = slipway("plan", str(EXAMPLES / "trainingjob-runtime.yaml"))
    assert code == 0
    assert "fills in trainer.image from ClusterTrainingRuntime torch-8gpu" in text
    assert "fills in trainer.resourcesPerNode.limits.nvidia.com/gpu from ClusterTrainingRuntime torch-8gpu" in text
    assert "limits.memory from" not in text, "the job's own"
    assert "creates Pod finetune-node-3-a0, nvidia.com/gpu 8, cpu 64, memory 400Gi" in text
    alone = [
        d for d in yaml.safe_load_all((EXAMPLES / "trainingjob-runtime.yaml").read_text()) if d["kind"] == "TrainingJob"
    ]
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump_all(alone))
    code, text = slipway("plan", str(tmp_path / "alone.yaml"))
    assert code == 0
    assert "assuming that ClusterTrainingRuntime torch-8gpu, which is not in this file" in text


def test_a_wrong_manifest_is_told_without_a_cluster(tmp_path: Path) -> None:
    document = yaml.safe_load((EXAMPLES / "trainingjob.yaml").read_text())
    document["spec"] |= {"numNodes": 0, "replica": 3}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(document))
    code, text = slipway("plan", str(tmp_path / "wrong.yaml"))
    assert code == 1
    assert "wrong: spec.replica: unknown field" in text
    assert "spec.numNodes" in text


def test_the_memory_table(tmp_path: Path) -> None:
    document = yaml.safe_load((EXAMPLES / "trainingjob-gpu.yaml").read_text())
    size = {
        "parameters": 7_000_000_000,
        "layers": 32,
        "hiddenSize": 4096,
        "sequenceLength": 2048,
        "vocabularySize": 32000,
        "microBatchSize": 1,
    }
    document["spec"]["strategy"] = {"model": size, "gpuMemory": "80Gi"}
    (tmp_path / "large.yaml").write_text(yaml.safe_dump(document))
    code, text = slipway("plan", str(tmp_path / "large.yaml"), "-o", "json")
    (one,) = json.loads(text)
    fits = {row["name"]: row["fits"] for row in one["memory"]}
    assert not one["problems"]
    assert code == 0
    assert fits["DDP"] is False
    assert any(fits.values())
    assert "does not fit" in slipway("plan", str(tmp_path / "large.yaml"))[1]


def test_the_memory_table_counts_the_batches_of_the_recipe(tmp_path: Path) -> None:
    """It took one sample for each process, whatever the recipe said, so that plan and status differed."""
    document = yaml.safe_load((EXAMPLES / "trainingjob.yaml").read_text())
    size = {"parameters": 1_000_000, "layers": 2, "hiddenSize": 64, "sequenceLength": 64, "vocabularySize": 1000}
    document["spec"]["strategy"] = {"model": size, "gpuMemory": "80Gi"}
    needs = []
    for batch in (64, 640):
        document["spec"]["recipe"]["globalBatchSize"] = batch
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
        (one,) = json.loads(slipway("plan", str(tmp_path / "job.yaml"), "-o", "json")[1])
        needs.append([row["device_bytes"] for row in one["memory"]])
    assert all(larger > smaller for smaller, larger in zip(*needs, strict=True))


@pytest.mark.parametrize("text", ["kind: Pod\napiVersion: v1\n", "a: [\n"])
def test_a_file_of_something_else(tmp_path: Path, text: str) -> None:
    (tmp_path / "other.yaml").write_text(text)
    assert slipway("plan", str(tmp_path / "other.yaml"))[0] == 5


def test_a_file_that_is_not_there() -> None:
    assert slipway("plan", "nowhere.yaml")[0] == 2


def test_local_runs_the_chain_in_order(tmp_path: Path) -> None:
    names = ("inferenceservice", "quantizationjob", "trainingjob")
    (tmp_path / "chain.yaml").write_text("---\n".join((EXAMPLES / f"{name}.yaml").read_text() for name in names))
    out = tmp_path / "out"
    code, text = slipway("local", str(tmp_path / "chain.yaml"), "--output", str(out), "--processes", "2", "--dry-run")
    assert code == 0
    train, quantize, serve = text.splitlines()
    assert f"torchrun --standalone --nproc-per-node=2 -m workloads train --config {out}" in train
    assert f"quantize --config {out}/quantizationjob-digits-int8.yaml --output {out}/digits-int8" in quantize
    assert f"--model {out}/digits" in quantize
    assert f"serve --model {out}/digits-int8 --name digits" in serve
    assert all(f"workloads {name} " in text for name in ("train", "quantize", "serve"))
    assert {"train", "quantize", "serve", "torchrun"} <= set(COMMANDS)


def test_local_runs_a_program_of_ones_own(tmp_path: Path) -> None:
    code, text = slipway("local", str(EXAMPLES / "trainingjob-own-code.yaml"), "--output", str(tmp_path), "--dry-run")
    assert code == 0
    assert "train.py" in text


RUNTIME = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "TrainingRuntime",
    "metadata": {"name": "house"},
    "spec": {"trainer": {"env": [{"name": "RATE", "value": "3"}]}},
}
BY_RUNTIME = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "mine"},
    "spec": {
        "runtimeRef": {"kind": "TrainingRuntime", "name": "house"},
        "trainer": {"command": ["python", "train.py"], "env": [{"name": "OWN", "value": "1"}]},
    },
}


def test_local_runs_what_the_runtime_makes_of_a_job(tmp_path: Path) -> None:
    """Local run of a job that names a TrainingRuntime: what the runtime gives it was left out."""
    (tmp_path / "both.yaml").write_text(yaml.safe_dump_all([BY_RUNTIME, RUNTIME]))
    code, text = slipway("local", str(tmp_path / "both.yaml"), "--output", str(tmp_path / "out"), "--dry-run")
    assert code == 0, text
    assert "train.py" in text
    written = yaml.safe_load((tmp_path / "out" / "trainingjob-mine.yaml").read_text())
    assert written["spec"]["trainer"]["env"] == [{"name": "RATE", "value": "3"}, {"name": "OWN", "value": "1"}]
    assert "runtimeRef" not in written["spec"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ([], "goes by TrainingRuntime house, which is not in the file: put it beside the job"),
        ([{**RUNTIME, "metadata": {"name": "house", "namespace": "other"}}], "which is not in the file"),
        ([{**RUNTIME, "kind": "ClusterTrainingRuntime"}], "which is not in the file"),
        ([{**RUNTIME, "spec": {"numNodes": "many"}}], "TrainingRuntime house: spec.numNodes"),
    ],
)
def test_local_says_what_is_the_matter_with_a_runtime(tmp_path: Path, others: list[Any], words: str) -> None:
    (tmp_path / "job.yaml").write_text(yaml.safe_dump_all([BY_RUNTIME, *others]))
    code, text = slipway("local", str(tmp_path / "job.yaml"), "--output", str(tmp_path / "out"), "--dry-run")
    assert code
    assert words in " ".join(text.split())


@pytest.mark.slow
def test_local_trains(tmp_path: Path) -> None:
    words = ("local", str(EXAMPLES / "trainingjob.yaml"), "--output", str(tmp_path), "--epochs", "1", "--limit", "64")
    code, text = slipway(*words)
    assert code == 0, text
    assert (tmp_path / "digits" / "artifact.json").is_file()


def test_local_hands_the_exit_code_on(tmp_path: Path) -> None:
    words = ("local", str(EXAMPLES / "trainingjob.yaml"), "--output", str(tmp_path), "--epochs", "0")
    assert slipway(*words)[0] == 2


def _job(uri: str) -> dict[str, object]:
    return {"kind": "QuantizationJob", "metadata": {"name": "q"}, "status": {"report": {"uri": uri}}}


def test_a_report_that_lies_here(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<h1>report</h1>")
    assert fetch(Cluster(), _job(f"file://{tmp_path}/report.html")) == b"<h1>report</h1>"


@pytest.mark.parametrize(("uri", "words"), [("file:///nowhere/report.html", "lies on the node"), ("", "no report")])
def test_a_report_that_does_not(uri: str, words: str) -> None:
    with pytest.raises(UnreachableError, match=words):
        fetch(Cluster(), _job(uri))


def test_the_command_that_reads_a_claim_is_valid_json() -> None:
    overrides = reader("claim", "a/report.html").split("--overrides='")[1].split("'")[0]
    assert json.loads(overrides)["spec"]["containers"][0]["command"] == ["cat", "/claim/a/report.html"]
