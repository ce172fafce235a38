"""Users' models in any framework's form, users' documents in any form, and words that can be followed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from slipway.api.training.processes import unknown_to_trainer
from slipway.api.training.trainingjob import spec_problems
from slipway.cli import local
from tests.unit.train.processes import train
from tests.unit.train.runs import runs
from tests.unit.train.runs.users import jobs
from workloads import models, storage, user_code
from workloads.errors import BAD_INPUT, BadInput, code_of
from workloads.models.from_artifact import load_model
from workloads.pod import job_document
from workloads.train import plan
from workloads.train.job import Overrides, read_job

SMALL: dict[str, Any] = {"epochs": 1, "optimizer": {"learningRate": 0.01}, "gradientClipping": None}


@pytest.mark.parametrize(
    "form",
    [
        "dict",
        *(pytest.param(form, marks=pytest.mark.slow) for form in ("out", "only", "list")),
        "tuple",
        "model-output",
    ],
)
def test_answers_in_any_form_and_lazy_layers(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "model-output":
        pytest.importorskip("transformers")
    jobs.resumed_ends_as_undisturbed(tmp_path, "single", 1, **SMALL, model=jobs.own("answering", form=form))
    monkeypatch.setenv(models.ALLOWED, jobs.OWN)
    model, description = load_model(tmp_path / "model")
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    assert description.parameters == 64 * 16 + 16 + 16 * 10 + 10


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("which", "returns a dict of a, b: name what is learned `logits`"),
        ("none", "returns a NoneType: return a tensor"),
        ("wide", "have the shape [64, 20], expected [samples, classes], here [64, 10]"),
    ],
)
def test_answers_that_nobody_can_learn_from_are_refused_in_words(tmp_path: Path, form: str, words: str) -> None:
    said = jobs.refused(tmp_path, **SMALL, model=jobs.own("answering", form=form))
    assert words in said.splitlines()[-1]


def test_unused_parameters_under_ddp_are_told_with_the_field_that_takes_them(tmp_path: Path) -> None:
    recipe = {**SMALL, "model": jobs.own("branched")}
    config = runs.write(tmp_path, "ddp", **recipe)
    with train(config, 2, tmp_path / "logs") as both:
        codes = [one.wait() for one in both]
        assert BAD_INPUT in codes
        assert any("set recipe.findUnusedParameters" in one.output for one in both)
    jobs.resumed_ends_as_undisturbed(tmp_path / "with", "ddp", 2, **recipe, findUnusedParameters=True)


def test_a_mistake_inside_ones_own_code_keeps_its_traceback(tmp_path: Path) -> None:
    said = jobs.refused(tmp_path, **SMALL, model=jobs.own("mistaken"))
    assert 'return nn.Linear(known["classes"], inputs=3)' in said
    assert "does not take the arguments" not in said


def test_own_code_that_takes_less_is_told_how_to_take_the_rest() -> None:
    with pytest.raises(
        BadInput, match=r"got an unexpected keyword argument 'classes'\): end its parameters with \*\*known"
    ):
        user_code.call(f"{jobs.OWN}:narrow", {"channels": 1, "height": 2, "classes": 3})
    with pytest.raises(BadInput, match="not found on this image's Python path"):
        user_code.call("tests.unit.train.runs.users.absent:model", {})


@pytest.mark.parametrize(
    "words",
    [
        "mat1 and mat2 shapes cannot be multiplied (64x64 and 3x3)",
        "Expected to have finished reduction in the prior iteration before starting a new one.",
        "The size of tensor a (3) must match the size of tensor b (4)",
        "Error(s) in loading state_dict for Linear: size mismatch",
    ],
)
def test_what_torch_says_of_a_wrong_model_is_final(words: str) -> None:
    assert code_of(RuntimeError(words)) == BAD_INPUT
    assert code_of(RuntimeError("CUDA error: an illegal memory access")) == 1
    assert code_of(RuntimeError("CUDA out of memory. mat1 and mat2")) == 1
    assert code_of(OSError("Input/output error")) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "neither JSON nor YAML"), ("- 1\n- 2\n", "not a TrainingJob document"), ("", "not a TrainingJob"),
        ("{", "neither JSON nor YAML"), ("kind: A\n---\nkind: B\n", "not a TrainingJob"),
        ("kind: TrainingJob\n---\nkind: TrainingJob\n", "holds 2 documents of kind TrainingJob"),
    ],
)  # fmt: skip
def test_documents_that_are_none(tmp_path: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=words):
        job_document.read(path, "TrainingJob")
    assert plan.main(["--config", str(path), "--gpu-memory", "80Gi"]) == 2
    assert words in capsys.readouterr().err


def test_the_only_training_of_several_documents_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    documents = [{"kind": "ConfigMap"}, runs.document(tmp_path, "single"), None]
    path.write_text("\ufeff" + yaml.safe_dump_all(documents))
    assert read_job(path, Overrides()).reference.name == "digits"


@pytest.mark.parametrize("amount", ["80GB", "many", "80 Gi"])
def test_an_amount_of_memory_that_is_none(tmp_path: Path, amount: str, capsys: pytest.CaptureFixture[str]) -> None:
    document = runs.document(tmp_path, "single")
    document["spec"]["strategy"] = {"name": "Auto", "model": {"parameters": 10}}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(document))
    assert plan.main(["--config", str(path), "--gpu-memory", amount]) == 2
    assert "is no quantity of Kubernetes: write 80Gi, or 80G" in capsys.readouterr().err


@pytest.mark.parametrize(("mask", "rights"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_an_artifacts_files_have_the_rights_that_the_umask_leaves(tmp_path: Path, mask: int, rights: int) -> None:
    """model.safetensors was 0600 whatever the umask: a server of another user could not read it."""
    before = os.umask(mask)
    try:
        with storage.publishing(str(tmp_path / "model"), "job") as folder:
            (folder / "artifact.json").touch(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "model/artifact.json").stat().st_mode & 0o777 == rights


def test_slipway_local_runs_ones_own_program(tmp_path: Path) -> None:
    spec = {"trainer": {"command": ["python", "-c"], "args": ["print()"], "env": [{"name": "A", "value": "b"}]}}
    document = {"kind": "TrainingJob", "metadata": {"name": "own"}, "spec": spec}
    (step,) = local.steps([document], tmp_path, 1, [])
    assert (step.argv, step.env) == ([sys.executable, "-c", "print()"], {"A": "b"})
    (step,) = local.steps([document], tmp_path, 2, [])
    assert step.argv[3:6] == ["torchrun", "--standalone", "--nproc-per-node=2"]
    with pytest.raises(local.NotLocalError, match=r"neither a recipe nor trainer\.command"):
        local.steps([{**document, "spec": {}}], tmp_path, 1, [])


def test_sigterm_to_slipway_local_reaches_the_training(tmp_path: Path) -> None:
    """The training went on without anybody who would end it."""
    program = (
        "import os, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(tmp_path / 'saved')!r}, 'w').close(), os._exit(143)))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w').close()\n"
        "time.sleep(600)\n"
    )
    spec = {"trainer": {"command": ["python", "-c", program]}}
    document = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "own"}, "spec": spec}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(document))
    argv = [
        sys.executable,
        "-m",
        "slipway.cli.app",
        "local",
        str(tmp_path / "job.yaml"),
        "--output",
        str(tmp_path / "out"),
    ]
    with subprocess.Popen(argv, env=local.environment()) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize("resource", ["habana.ai/gaudi", "gpu.intel.com/i915", "aws.amazon.com/neuron"])
def test_accelerators_that_would_not_be_used_are_refused(tmp_path: Path, resource: str) -> None:
    """They were counted as processes, and the job trained on the CPU without a word."""
    document = runs.document(tmp_path, "single")
    document["spec"]["trainer"] = {"resourcesPerNode": {"limits": {resource: 1, "cpu": "1"}}}
    config = tmp_path / "job.yaml"
    config.write_text(yaml.safe_dump(document))
    with train(config, 1, tmp_path / "logs", KUBERNETES_SERVICE_HOST="10.0.0.1") as (one,):
        assert one.wait() == 2
        assert f"has {resource}, and the built-in trainer computes on CUDA or ROCm" in one.output.splitlines()[-1]


def test_gpus_that_torch_knows_are_none_of_them(tmp_path: Path) -> None:
    document = runs.document(tmp_path, "single")
    for resource in ("nvidia.com/gpu", "amd.com/gpu", "cpu", "example.com/widget"):
        document["spec"]["trainer"] = {"resourcesPerNode": {"limits": {resource: 1}}}
        spec, problems = spec_problems("a", document["spec"])
        assert spec is not None, problems
        assert unknown_to_trainer(spec) == []
