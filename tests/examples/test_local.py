"""Public scripts' shapes run as they are by `slipway local`, leave artifacts that load, and go on where they were."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from slipway.api.training.trainingjob import spec_problems
from slipway.cli import local
from tests.examples.scripts import FOLDER, SCRIPTS, job, reached
from workloads import models
from workloads.models.from_artifact import load_model

# The others have the same shapes as these, or longer ways there.
SHORT = ("ddp_mnist", "hf_trainer", "min_gpt")
SLOW = pytest.mark.slow


def run(folder: Path, document: dict[str, Any], processes: int) -> str:
    """By the command line, to its end."""
    (folder / "job.yaml").write_text(yaml.safe_dump(document))
    argv = ["-m", "slipway.cli.app", "local", "job.yaml", "--output", "out", "--processes", str(processes)]
    done = subprocess.run(
        [sys.executable, *argv], cwd=folder, env=local.environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_cluster_takes_it(name: str) -> None:
    spec, problems = spec_problems(name.replace("_", "-"), job(name)["spec"])
    assert spec is not None, problems


@pytest.mark.parametrize(
    ("name", "processes"),
    [
        *(pytest.param(name, 2 if name == "ddp_mnist" else 1, marks=() if name in SHORT else SLOW) for name in SCRIPTS),
        *(pytest.param(name, 2, marks=pytest.mark.slow) for name in SCRIPTS if name != "ddp_mnist"),
    ],
)
def test_a_public_scripts_shape_runs_as_it_is(
    tmp_path: Path, name: str, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip({"deepspeed_cifar": "deepspeed", "hf_trainer": "transformers"}.get(name, "torch"))
    document = job(name, text=name != "ddp_mnist")  # of which one is a file
    run(tmp_path, document, processes)
    place = tmp_path / "out" / document["metadata"]["name"]
    monkeypatch.setenv(models.ALLOWED, name)
    monkeypatch.syspath_prepend(str(FOLDER))
    model, description = load_model(place)
    assert reached(name, description.metrics), description.metrics
    assert description.lineage.job.name == document["metadata"]["name"]
    given = [torch.zeros([axis if isinstance(axis, int) else 2 for axis in one.shape], dtype=getattr(torch, one.dtype))
             for one in description.signature.inputs]  # fmt: skip
    found = model(*given)
    logits = description.signature.outputs[0]
    assert list(found.shape)[1:] == [axis for axis in logits.shape if isinstance(axis, int)]
    assert not list((tmp_path / "out").glob("*.partial"))


def test_a_killed_script_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    """With SLIPWAY_CHECKPOINT_DIR, which a laptop did not set; what the killed one left of an output is removed."""
    document = job("min_gpt", text=False)
    document["spec"]["trainer"]["args"] = ["--steps", "50"]
    run(tmp_path, document, 1)
    (tmp_path / "out/.min-gpt.local-a1.partial").mkdir()
    document["spec"]["trainer"]["args"] = ["--steps", "60"]
    said = run(tmp_path, document, 1)
    assert "resuming from step 50" in said
    assert not (tmp_path / "out/.min-gpt.local-a1.partial").exists()
    assert len(list((tmp_path / "out").glob("min-gpt.replaced-*"))) == 1
    assert json.loads((tmp_path / "out/.min-gpt/last-words").read_text())["artifact"]["uri"].startswith("pvc://")
