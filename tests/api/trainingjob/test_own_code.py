"""Own code in the chain on the API server: the pod's own command is run for real, and what it leaves is passed on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import SHARED as NS
from tests.api.quantizationjob.acts import play
from tests.api.quantizationjob.jobs import Jobs
from tests.api.stage import Stage, condition
from tests.cluster.scripted.script import Exit, Script
from tests.unit.trainingjob.pods.owncode_pod import run
from workloads import artifact

pytestmark = pytest.mark.api
PROGRAM = """
import json, os, pathlib, torch
from safetensors.torch import save_file
out = pathlib.Path(os.environ["SLIPWAY_OUTPUT_DIR"])
save_file({"w": torch.ones(2, 4)}, out / "model.safetensors")
tensor = {"dtype": "float32", "shape": ["batch", 4]}
(out / "artifact.json").write_text(json.dumps({"task": "raw", "architecture": {"name": "mine:net"},
    "signature": {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}}))
"""


def _really(stage: Stage, root: Path) -> Any:
    """A script of the kubelet that runs the command of the pod, with the ConfigMap that the operator made."""

    def script(pod: dict[str, Any]) -> Script:
        (volume,) = [v for v in pod["spec"]["volumes"] if v["name"] == "slipway-job"]
        files = stage.plane.client.get(f"/api/v1/namespaces/{NS}/configmaps/{volume['configMap']['name']}")["data"]
        done, words = run(pod, files, root)
        return Script(exit=Exit(code=done.returncode, message=words or done.stderr[-2000:]))

    return script


@pytest.mark.usefixtures("shared_operator")
def test_the_digest_of_what_a_program_left_is_in_the_status_and_the_next_link_takes_it(
    stage: Stage, name: str, tmp_path: Path
) -> None:
    stage.scripts[name] = _really(stage, tmp_path)
    trainer = {"image": "x", "command": [sys.executable, "-c", PROGRAM]}
    stage.create(NS, name, launcher="plain", trainer=trainer, output={"uri": "pvc://models/mine"})
    done = stage.until_condition(NS, name, "Succeeded", seconds=60)
    told = done["artifact"]
    assert told["uri"] == "pvc://models/mine"
    assert artifact.read(tmp_path / "claims/models/mine", told["digest"]).description.lineage.job.name == name
    jobs = Jobs(stage)
    jobs.create(NS, f"{name}-q", play(), model={"from": {"trainingJob": name}})
    pinned = jobs.until_condition(NS, f"{name}-q", "SourceReady")
    assert pinned["source"]["digest"] == told["digest"]
    assert pinned["source"]["uri"] == told["uri"]


@pytest.mark.usefixtures("shared_operator")
def test_a_program_that_leaves_no_artifact_is_not_run_again(stage: Stage, name: str, tmp_path: Path) -> None:
    stage.scripts[name] = _really(stage, tmp_path)
    trainer = {"image": "x", "command": [sys.executable, "-c", "pass"]}
    stage.create(NS, name, launcher="plain", trainer=trainer, output={"uri": "pvc://models/none"})
    failed = stage.until_condition(NS, name, "Failed", reason="BadInput", seconds=60)
    assert "write model.safetensors or model.onnx" in condition(failed, "Failed")["message"]  # type: ignore[index]
    assert failed["restartCount"] == 0
    assert failed["lastFailure"]["exitCode"] == 78
    assert json.dumps(failed.get("artifact")) == "null"
