"""What is published is the file that was judged, byte for byte, and no other."""

from pathlib import Path

import pytest

from slipway.api.quantization.status import Stage
from tests.unit.quantize import jobs
from workloads import storage
from workloads.errors import Corrupt
from workloads.quantize.run import run_stage


@pytest.fixture
def ready(digits: Path, tmp_path: Path) -> jobs.Job:
    """All is done but the last stage."""
    job = jobs.job(tmp_path, digits, ladder=["dynamic"], calibration=None)
    for stage in (Stage.EXPORT, Stage.BASELINE, Stage.QUANTIZE, Stage.BENCHMARK):
        run_stage(job, jobs.quiet(), stage, 0)
    return job


def test_the_file_that_was_judged_is_published_and_no_other_is(ready: jobs.Job) -> None:
    work, output = jobs.work_of(ready), Path(str(ready.spec.output.uri).removeprefix("file://"))
    judged = work.path("candidates/dynamic.onnx")
    whole = judged.read_bytes()
    judged.write_bytes(work.path("float.onnx").read_bytes())
    with pytest.raises(Corrupt, match="not the file that was judged"):
        run_stage(ready, jobs.quiet(), Stage.PUBLISH, 0)
    assert not output.exists()
    judged.write_bytes(whole)
    assert run_stage(ready, jobs.quiet(), Stage.PUBLISH, 0).selected == "dynamic"
    wanted = work.require("candidates/dynamic")["digest"]
    assert storage.sha256_of(output / "model.onnx") == wanted != storage.sha256_of(work.path("float.onnx"))
