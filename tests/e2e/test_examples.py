"""Every manifest of manifests/examples in a cluster: run to its end where the cluster has what it needs, else tried.

Slow. All runs share one namespace and one trained model, as they would for a person who applies the whole folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import install
from tests.cluster.base import Cluster
from tests.cluster.demonstration import predict
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.e2e.conftest import Job, Namespace, is_true

FOLDER = install.example("")
# In this order; the condition in which each ends, and for how many seconds it is waited.
RUN = {
    "trainingjob.yaml": ("Succeeded", 300),
    "trainingjob-compress.yaml": ("Succeeded", 300),
    "searchjob.yaml": ("Succeeded", 900),
    "quantizationjob.yaml": ("Succeeded", 300),
    "quantizationjob-dynamic.yaml": ("Succeeded", 300),
    "quantizationjob-static.yaml": ("Succeeded", 300),
    "quantizationjob-weight-only.yaml": ("Succeeded", 300),
    "quantizationjob-qat.yaml": ("Succeeded", 300),
    "quantizationjob-ladder.yaml": ("Succeeded", 500),
    "quantizationjob-compress.yaml": ("Succeeded", 500),
    "inferenceservice.yaml": ("Ready", 120),
    "inferenceservice-canary.yaml": ("Ready", 120),
    "inferenceservice-mirror.yaml": ("Ready", 120),
    "inferenceservice-scale-to-zero.yaml": ("Ready", 120),
}
# What these need and a cluster for tests has not: the server's dry run takes them, and says what it thinks of them.
TRIED = {
    "inferenceservice-gateway.yaml": "a gateway",
    "inferenceservice-language.yaml": "the model of quantizationjob-language.yaml, and an image with OpenVINO GenAI",
    "quantizationjob-fpga.yaml": "an image with hls4ml and g++",
    "quantizationjob-language.yaml": "the model of trainingjob-lora.yaml, and chats in claims",
    "inferenceservice-tensorrt.yaml": "GPUs of one type, a claim for engines, and an image with TensorRT",
    "inferenceservice-transform.yaml": "a model of flowers in a claim",
    "trainingjob-deepspeed.yaml": "sixteen GPUs, and somebody's image",
    "trainingjob-elastic.yaml": "GPUs, and somebody's image",
    "trainingjob-fashion-mnist.yaml": "the data set's files in the claim",
    "trainingjob-gpu.yaml": "eight H100s, and a claim with images",
    "trainingjob-horovod.yaml": "GPUs, and an image with Horovod",
    "trainingjob-lora.yaml": "a language model and chats in claims",
    "trainingjob-mpirun.yaml": "an image with Open MPI",
    "trainingjob-own-code.yaml": "somebody's image and claim",
    "trainingjob-pipeline.yaml": "the texts in a claim",
    "trainingjob-ray.yaml": "GPUs, and an image with Ray",
    "trainingjob-runtime.yaml": "the platform's image, secrets and nodes",
    "trainingjob-tensor-parallel.yaml": "eight GPUs, and the texts in a claim",
}


def test_every_example_is_run_or_tried() -> None:
    assert {path.name for path in FOLDER.glob("*.yaml")} == {"storage.yaml", *RUN, *TRIED}


@pytest.fixture(scope="module")
def town(installed: Kubectl) -> Iterator[Namespace]:
    """One namespace for all, restricted where the server knows Pod Security."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed("create", "namespace", name)
    installed("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield Namespace(installed, name)
    installed("delete", "namespace", name, "--wait=false")


def _document(name: str) -> Job:
    document: Job = yaml.safe_load(install.example(name).read_text())
    return document


def ran(town: Namespace, name: str) -> Job:
    """The example's object in the condition in which it ends; applied as it stands, which may be done twice."""
    town.kubectl("apply", "-f", str(install.example("storage.yaml")), "-f", str(install.example(name)))
    end, seconds = RUN[name]
    document = _document(name)
    return town.until_condition(document["kind"], document["metadata"]["name"], end, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_it_runs_to_its_end(town: Namespace, installed: Kubectl, name: str) -> None:
    found = ran(town, name)
    assert not is_true(found, "Stalled")
    if found["kind"] != "InferenceService":
        assert found["status"]["artifact"]["digest"].startswith("sha256:")
        assert found["status"].get("restartCount", 0) == 0
        return
    picture, truth = predict.held_out_digit(7)
    with predict.forwarded(installed, town.name, found["metadata"]["name"], 80) as url:
        assert predict.ask(url, picture)["predictions"][0]["label"] == truth
    # Two small nodes have no room for all of them at once.
    town.kubectl("delete", "infsvc", found["metadata"]["name"])


@pytest.mark.slow
def test_slipway_fetches_a_jobs_report_and_knows_its_lineage(town: Namespace, cluster: Cluster, tmp_path: Path) -> None:
    # The report lies in the claim, and is read through a pod that mounts it: the server's.
    for name in ("trainingjob.yaml", "quantizationjob.yaml", "inferenceservice.yaml"):
        ran(town, name)
    where = ["--kubeconfig", str(cluster.kubeconfig), "-n", town.name, "--context", cluster.context or ""]

    def slipway(*arguments: str) -> str:
        argv = [sys.executable, "-m", "slipway.cli.app", *arguments, *where]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    page = tmp_path / "report.html"
    slipway("report", "digits-int8", "--no-open", "--to", str(page))
    assert "digits-int8" in page.read_text()
    lineage = json.dumps(json.loads(slipway("status", "qj/digits-int8", "--output", "json"))["lineage"])
    assert all(kind in lineage for kind in ("TrainingJob", "QuantizationJob", "InferenceService"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_the_server_takes_it(town: Namespace, name: str) -> None:
    said = town.kubectl("apply", "--dry-run=server", "-f", str(install.example(name)))
    assert "(server dry run)" in said


@pytest.mark.slow
def test_the_dry_run_can_say_no(town: Namespace, tmp_path: Path) -> None:
    wrong: dict[str, Any] = _document("trainingjob-mpirun.yaml")
    wrong["spec"]["numNodes"] = "four"
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(KubectlError, match="numNodes"):
        town.kubectl("apply", "--dry-run=server", "-f", str(tmp_path / "wrong.yaml"))
