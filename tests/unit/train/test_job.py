"""Job documents: the same rules as in the cluster, told in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.training.trainingjob import KIND
from tests.unit.api.admission import Admission
from tests.unit.train.conftest import digits_job
from workloads.errors import BadInput
from workloads.train.job import Overrides, read_job

NONE = Overrides()


def write(folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    document = digits_job(folder)
    change(document)
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_json_and_yaml_are_read_alike(tmp_path: Path, job_file: Callable[..., Path]) -> None:
    one, two = read_job(job_file(), NONE), read_job(write(tmp_path, lambda _: None), NONE)
    assert one == two
    assert one.recipe.global_batch_size == 64
    assert one.folder == "digits-6f1c4a52"


def test_a_run_outside_kubernetes_needs_no_uid(tmp_path: Path) -> None:
    job = read_job(write(tmp_path, lambda document: document.update(metadata={"name": "laptop"})), NONE)
    assert (job.folder, job.writer, job.reference.uid) == ("laptop", "laptop", None)


def test_status_and_other_metadata_do_not_disturb(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["status"] = {"attempt": 3}
        document["metadata"]["labels"] = {"a": "b"}

    assert read_job(write(tmp_path, change), NONE).reference.namespace == "ml"


def test_overrides(job_file: Callable[..., Path], tmp_path: Path) -> None:
    job = read_job(job_file(), Overrides(str(tmp_path / "o"), "pvc://claim/c", epochs=2, limit=100, seed=9))
    assert job.spec.output is not None
    assert job.spec.checkpoint is not None
    assert (job.spec.output.uri, job.spec.checkpoint.uri) == ((tmp_path / "o").as_uri(), "pvc://claim/c")
    assert job.spec.checkpoint.every_steps == 15
    assert (job.recipe.epochs, job.recipe.dataset.limit, job.recipe.seed) == (2, 100, 9)


def test_overrides_are_checked_as_well(job_file: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match=r"spec\.recipe\.epochs"):
        read_job(job_file(), Overrides(epochs=0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(apiVersion="v1"), "expected apiVersion slipway.dev/v1alpha1"),
        (lambda d: d.update(kind="Job"), "kind TrainingJob, found slipway.dev/v1alpha1 Job"),
        (lambda d: d.update(metadata={}), "metadata.name is missing"),
        (lambda d: d.pop("spec"), "spec is missing"),
        (lambda d: d["spec"]["recipe"].update(epoch=3), "spec.recipe.epoch"),
        (lambda d: d["spec"]["recipe"].update(globalBatchSize="many"), "spec.recipe.globalBatchSize"),
        (lambda d: d["spec"]["recipe"]["dataset"].update(name="cifar10"), "set uri"),
        (lambda d: d["spec"].update(output={"uri": "ftp://host/x"}), "spec.output: uri must name a folder"),
    ],
)
def test_wrong_documents(tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str) -> None:
    with pytest.raises(BadInput, match="(?s)" + words.replace(".", r"\.")):
        read_job(write(tmp_path, change), NONE)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({"model": {"name": "resnet18", "width": 8}}, "width is for cnn"),
        ({"model": {"name": "cnn", "layers": 2}}, "layers, hiddenSize and heads are for transformers"),
        ({"model": {"name": "mobilenetv2", "heads": 2}}, "layers, hiddenSize and heads are for transformers"),
        ({"model": {"name": "cnn", "arguments": {"depth": "2"}}}, "arguments are for custom"),
        ({"dataset": {"name": "digits", "arguments": {"n": "2"}}}, "arguments are for custom and synthetic"),
        ({"dataset": {"name": "digits", "uri": "pvc://claim/x"}}, "has no uri: remove it"),
        ({"dataset": {"name": "synthetic", "uri": "pvc://claim/x"}}, "has no uri: remove it"),
        ({"dataset": {"name": "digits", "tokenizer": "pvc://claim/t.json"}}, "tokenizer is for text"),
    ],
)
def test_what_would_have_no_effect_is_refused_by_the_server_and_by_us(
    tmp_path: Path, recipe: dict[str, Any], words: str
) -> None:
    path = write(tmp_path, lambda document: document["spec"]["recipe"].update(recipe))
    with pytest.raises(BadInput, match=words):
        read_job(path, NONE)
    assert any(words in refusal for refusal in Admission(KIND).refusals(yaml.safe_load(path.read_text())))


def test_a_job_with_its_own_command_is_not_for_this_trainer(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["spec"] = {"trainer": {"command": ["python", "mine.py"], "image": "mine:1"}}

    with pytest.raises(BadInput, match="brings its own command"):
        read_job(write(tmp_path, change), NONE)


@pytest.mark.parametrize(
    ("text", "words"), [("{", "neither JSON nor YAML"), ("- 1", "not a TrainingJob"), ("a: [", "neither")]
)
def test_no_document_at_all(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "job.json"
    with pytest.raises(BadInput, match="cannot be read"):
        read_job(path, NONE)
    path.write_text(text)
    with pytest.raises(BadInput, match=words):
        read_job(path, NONE)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["spec"]["recipe"].update(epochs=0, seed=-1)

    with pytest.raises(BadInput) as problem:
        read_job(write(tmp_path, change), NONE)
    assert "spec.recipe.epochs" in str(problem.value)
    assert "spec.recipe.seed" in str(problem.value)
    assert json.dumps(str(tmp_path))[1:-1] in str(problem.value)
