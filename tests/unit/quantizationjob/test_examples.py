"""The examples: one for each method there is, each a job that the quantizer takes once its source is known."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api.quantization.ladder import LADDER, Rung
from slipway.api.quantization.quantizationjob import QuantizationJobSpec, spec_problems
from slipway.quantizationjob import pods
from slipway.quantizationjob.job import Platform, identify
from slipway.reconcile.source import Pinned
from workloads.quantize.job import Overrides, read_job

EXAMPLES = Path(__file__).parents[3] / "manifests" / "examples"
PATHS = sorted(EXAMPLES.glob("quantizationjob*.yaml"))
TRAINED = {
    document["metadata"]["name"]: document
    for path in sorted(EXAMPLES.glob("trainingjob*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document["kind"] == "TrainingJob"
}
CLAIM = yaml.safe_load((EXAMPLES / "storage.yaml").read_text())["metadata"]["name"]


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def spec_of(path: Path) -> QuantizationJobSpec:
    spec, problems = spec_problems(read(path)["metadata"]["name"], read(path)["spec"])
    assert spec is not None, problems
    return spec


def test_every_method_has_its_example() -> None:
    alone = [tuple(spec_of(path).ladder) for path in PATHS]
    assert tuple(LADDER) in alone
    for method in ((Rung.DYNAMIC,), (Rung.STATIC_PER_CHANNEL,), (Rung.QAT,)):
        assert method in alone
    assert (Rung.WEIGHT_ONLY_INT4, Rung.WEIGHT_ONLY_INT8) in alone


def test_they_can_be_applied_together() -> None:
    names = [read(path)["metadata"]["name"] for path in PATHS]
    outputs = [spec_of(path).output.uri for path in PATHS]
    assert len(set(names)) == len(set(outputs)) == len(PATHS) >= 6


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_quantizes_what_a_training_example_makes(path: Path, tmp_path: Path) -> None:
    spec = spec_of(path)
    assert spec.model.from_ is not None
    trained = TRAINED[spec.model.from_.training_job]
    pinned = Pinned(
        trained["spec"]["output"]["uri"], f"sha256:{'a' * 64}", f"TrainingJob/{spec.model.from_.training_job}"
    )
    metadata = {**read(path)["metadata"], "namespace": "team", "uid": "12345678-aaaa"}
    job = identify({"metadata": metadata}, spec, pinned)
    named = set(re.findall(r"pvc://([\w-]+)/", f"{path.read_text()} {pinned.uri}"))
    assert set(pods.claims(job)) == named
    assert named == {CLAIM} or "language" in path.stem
    # What the pods mount is what the quantizer reads.
    (tmp_path / "job.json").write_text(pods.config_map(job, Platform("q"))["data"]["job.json"])
    assert read_job(tmp_path / "job.json", Overrides()).spec.ladder == spec.ladder
