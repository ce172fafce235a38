"""Language models and text classifiers are trained for real, under the strategies that exist for them."""

from pathlib import Path

import pytest

from tests.unit.train.runs.runs import history, installed, run
from tests.unit.train.runs.strategies.test_equivalence import long
from tests.unit.train.runs.texts import language, table
from workloads.models.from_artifact import load_model

pytest.importorskip("transformers")


@pytest.mark.parametrize("strategy", [long("ddp"), "fsdp2", long("zero-3"), long("zero-3-cpu"), "horovod"])
def test_perplexity_falls(tmp_path: Path, strategy: str) -> None:
    if not installed(strategy):
        pytest.skip(f"the library of {strategy} is not installed")
    run(tmp_path, strategy, 2, **language(tmp_path))
    first, last = history(tmp_path)[0], history(tmp_path)[-1]
    assert last["perplexity"] < first["perplexity"] < 257
    assert last["perplexity"] < 20
    model, description = load_model(tmp_path / "model")
    assert description.task == "text-generation"
    assert sum(parameter.numel() for parameter in model.parameters()) == description.parameters


def test_a_classifier_of_texts(tmp_path: Path) -> None:
    recipe = {
        "model": {"name": "text-classifier", "layers": 1, "hiddenSize": 32, "heads": 2},
        "dataset": {"name": "text-table", "uri": table(tmp_path / "rows.jsonl").as_uri(), "sequenceLength": 48},
        "globalBatchSize": 16,
        "epochs": 12,
        "optimizer": {"name": "adamw", "learningRate": 0.005},
    }
    run(tmp_path, "single", 1, **recipe)
    _, description = load_model(tmp_path / "model")
    assert description.labels == ["trade", "work"]
    assert description.metrics["accuracy"] > 0.9
