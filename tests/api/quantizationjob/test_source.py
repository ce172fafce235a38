"""Where the float model comes from: waited for, pinned by digest, and never silently another one than was asked for."""

from __future__ import annotations

import json

import pytest

from slipway.api.quantization.status import Stage
from tests.api.conftest import SHARED as NS
from tests.api.quantizationjob.acts import SHORT, SOURCE_DIGEST, Place, ending, play
from tests.api.quantizationjob.jobs import Jobs, mark, message
from tests.api.stage import JOBS as TRAINING_JOBS
from tests.cluster.scripted.script import Exit

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]

TRAINED = Exit(message=json.dumps({"artifact": {"uri": "pvc://models/digits", "digest": SOURCE_DIGEST}}))


def source(name: str) -> dict[str, object]:
    return {"model": {"from": {"trainingJob": f"{name}-t"}}}


def test_waits_for_its_source_and_pins_the_digest_for_good(jobs: Jobs, name: str) -> None:
    held = {Stage.BASELINE}
    jobs.create(NS, name, play(hold=lambda place: place.stage in held), **source(name))
    waiting = jobs.until_condition(NS, name, "SourceReady", "False", "WaitingForSource")
    assert "is not there" in message(waiting, "Ready")
    assert mark(waiting, "Ready")[0] == "Unknown"
    jobs.train(NS, f"{name}-t")
    seen = jobs.until(NS, name, lambda s: (s.get("source") or {}).get("uid"))
    assert "waiting for TrainingJob" in message(seen, "SourceReady")
    assert not jobs.pods(NS, name)
    jobs.stage.finish(NS, f"{name}-t-node-0-a0", TRAINED)
    status = jobs.until_stage(NS, name, "baseline")
    pinned = {"uri": "pvc://models/digits", "digest": SOURCE_DIGEST, "source": f"TrainingJob/{name}-t"}
    assert status["source"] == pinned
    config = jobs.client.get(f"/api/v1/namespaces/{NS}/configmaps/{name}-quantization")
    model = json.loads(config["data"]["job.json"])["spec"]["model"]
    assert model == {"uri": "pvc://models/digits", "digest": SOURCE_DIGEST}
    # Once pinned, the job that made it may go: what is quantized does not change.
    jobs.train_delete(NS, f"{name}-t")
    jobs.stage.until_gone(TRAINING_JOBS.format(NS), f"{name}-t")
    held.clear()
    jobs.stage.finish(NS, f"{name}-1-0-a1", ending(SHORT, Place(1, 0, 1, Stage.BASELINE)))
    assert jobs.until_condition(NS, name, "Succeeded")["source"] == pinned


def test_a_source_that_failed_fails_the_job_in_its_words(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play(), **source(name))
    jobs.train(NS, f"{name}-t", Exit(code=1, message="loss is NaN"), failurePolicy={"maxRestarts": 0})
    failed = jobs.until_condition(NS, name, "Failed", reason="SourceFailed")
    assert "exit code 1" in message(failed, "Failed")
    assert mark(failed, "SourceReady") == ("False", "SourceFailed")
    assert failed["completionTime"]
    assert not jobs.made(NS, name)


def test_a_source_without_an_artifact_fails_the_job(jobs: Jobs, name: str) -> None:
    jobs.train(NS, f"{name}-t", Exit())
    jobs.create(NS, name, play(), **source(name))
    failed = jobs.until_condition(NS, name, "Failed", reason="SourceFailed")
    assert "give it spec.output" in message(failed, "Failed")


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "deleted and created again"])
def test_a_source_deleted_before_its_end_fails_the_job(jobs: Jobs, name: str, again: bool) -> None:
    """Also when another of its name is there before anybody looks: that is not what was asked for."""
    jobs.train(NS, f"{name}-t")
    jobs.create(NS, name, play(), **source(name))
    jobs.until(NS, name, lambda s: (s.get("source") or {}).get("uid"))
    jobs.train_delete(NS, f"{name}-t")
    jobs.stage.until_gone(TRAINING_JOBS.format(NS), f"{name}-t")
    if again:
        jobs.train(NS, f"{name}-t", TRAINED)
    failed = jobs.until_condition(NS, name, "Failed", reason="SourceFailed")
    assert "was deleted before it succeeded" in message(failed, "Failed")
    # The end is not written anew when its source is looked at again.
    assert mark(failed, "SourceReady") == ("False", "SourceFailed")
    jobs.edit(NS, name, runPolicy={"ttlSecondsAfterFinished": 3600})
    status = jobs.until(NS, name, lambda s: s["observedGeneration"] == jobs.get(NS, name)["metadata"]["generation"])
    assert mark(status, "SourceReady") == ("False", "SourceFailed")
    assert status["completionTime"] == failed["completionTime"]


def test_two_jobs_of_one_source(jobs: Jobs, name: str) -> None:
    for twin in (f"{name}-x", f"{name}-y"):
        jobs.create(
            NS, twin, play(), model={"from": {"trainingJob": f"{name}-t"}}, output={"uri": f"pvc://models/{twin}"}
        )
        jobs.until_condition(NS, twin, "SourceReady", "False")
    jobs.train(NS, f"{name}-t", TRAINED)
    for twin in (f"{name}-x", f"{name}-y"):
        assert jobs.until_condition(NS, twin, "Succeeded")["source"]["digest"] == SOURCE_DIGEST
