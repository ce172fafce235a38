"""The life of a QuantizationJob on a real API server, with the real operator process; only the kubelet is scripted."""

from __future__ import annotations

from collections import Counter

import pytest

from slipway.api.quantization.status import SHARDED, Outcome, Stage
from tests.api.conftest import SHARED as NS
from tests.api.operators import Operator
from tests.api.quantizationjob.acts import DIGEST, SHORT, SOURCE_DIGEST, WHOLE, Place, ending, play
from tests.api.quantizationjob.jobs import JOBS, Jobs, mark, message
from tests.api.stage import PODS
from tests.cluster.scripted.script import Exit

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]


def test_from_the_export_to_a_published_model(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play())
    done = jobs.until_condition(NS, name, "Succeeded")
    assert [made[len(name) :] for made in jobs.made(NS, name)] == [f"-{i}-0-a{i}" for i in range(len(SHORT))]
    assert mark(done, "Ready") == ("True", "Succeeded")
    assert (mark(done, "Reconciling"), mark(done, "Stalled")) == (("", ""), ("", ""))
    assert done["startTime"] <= done["completionTime"]
    assert done.get("restartCount", 0) == 0
    assert (done["outcome"], done["artifact"]["digest"]) == ("quantized", DIGEST)
    assert done["source"] == {"uri": "pvc://models/digits", "digest": SOURCE_DIGEST}
    assert done["report"]["uri"].endswith("report.html")
    assert [row["name"] for row in done["comparison"]] == ["float", "static-per-tensor-entropy"]
    assert done["observedGeneration"] == jobs.get(NS, name)["metadata"]["generation"]
    for kind in ("SourceReady", "Baselined", "Calibrated", "AccuracyGatePassed", "PerformanceGatePassed", "Published"):
        assert mark(done, kind)[0] == "True", kind
    assert mark(done, "Escalated") == ("False", "GatePassed")
    assert "limit +0.98 pt" in message(done, "AccuracyGatePassed")


def test_the_whole_ladder_with_sharded_stages(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play(WHOLE, shards=3), parallelism=3)
    done = jobs.until_condition(NS, name, "Succeeded", seconds=60)
    made = [pod[len(name) + 1 :] for pod in jobs.made(NS, name)]
    sizes = Counter(int(pod.split("-")[0]) for pod in made)
    assert sizes == {step: 3 if stage in SHARDED else 1 for step, stage in enumerate(WHOLE)}
    assert mark(done, "Escalated") == ("True", "Escalated")
    assert "qat" in message(done, "Escalated")
    assert done["selected"] == "qat"
    assert done["step"] == len(WHOLE) - 1


def test_every_shard_is_needed(jobs: Jobs, name: str) -> None:
    script = play(shards=3, hold=lambda place: place.stage is Stage.CALIBRATE and place.shard == 1)
    jobs.create(NS, name, script, parallelism=3)
    status = jobs.until(
        NS, name, lambda s: s.get("stage") == "calibrate" and (s.get("replicaStatuses") or {}).get("succeeded") == 2
    )
    assert mark(status, "Calibrated") == ("", "")
    assert status["replicaStatuses"]["desired"] == 3
    # Its peers have ended before it, and could not know: it alone names the next stage, whatever its number is.
    last = Place(2, 2, 2, Stage.CALIBRATE)
    jobs.stage.finish(NS, f"{name}-2-1-a2", ending(SHORT, last, 3))
    assert mark(jobs.until_condition(NS, name, "Succeeded"), "Calibrated")[0] == "True"


def test_shards_that_never_find_each_other_are_told_of_within_the_budget(jobs: Jobs, name: str) -> None:
    """Each node has a disk of its own under the same path: no shard will ever see the others' results."""
    jobs.create(NS, name, play(shards=99), parallelism=2, failurePolicy={"maxRestarts": 1})
    failed = jobs.until_condition(NS, name, "Failed", reason="MaxRestartsExceeded")
    assert "one folder for all nodes" in failed["lastFailure"]["message"]
    assert (failed["restartCount"], failed["stage"]) == (1, "calibrate")


@pytest.mark.parametrize(
    ("outcome", "ends"), [(Outcome.KEPT_FLOAT, "Succeeded"), (Outcome.REJECTED, "Failed")], ids=str
)
def test_nothing_passes(jobs: Jobs, name: str, outcome: Outcome, ends: str) -> None:
    on_failure = "keep-float" if outcome is Outcome.KEPT_FLOAT else "fail"
    walk = tuple(stage for stage in WHOLE if stage is not Stage.QAT)
    jobs.create(NS, name, play(walk, outcome=outcome), onFailure=on_failure)
    ended = jobs.until_condition(NS, name, ends, seconds=60)
    assert ended["outcome"] == outcome
    assert mark(ended, "AccuracyGatePassed") == ("False", "GateFailed")
    assert ended["report"]["digest"] == DIGEST
    assert ended["headline"]["float"] == "98.10 %"
    assert ended["comparison"][1]["drop"] == 0.051
    if outcome is Outcome.REJECTED:
        assert mark(ended, "Failed") == ("True", "GateFailed")
        assert mark(ended, "Published") == ("False", "GateFailed")
        assert "artifact" not in ended
        assert ended.get("restartCount", 0) == 0
    else:
        assert mark(ended, "Published")[0] == "True"
        assert "the float model" in message(ended, "Published")


def test_reapplying_the_manifest_writes_nothing(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play(hold=lambda place: place.stage is Stage.BASELINE))
    jobs.until_stage(NS, name, "baseline")
    before = jobs.get(NS, name)["metadata"]
    again = jobs.edit(NS, name, output={"uri": "pvc://models/int8"}, calibration={"dataset": {"name": "digits"}})
    assert again["metadata"]["generation"] == before["generation"]
    assert again["metadata"]["resourceVersion"] == before["resourceVersion"]
    jobs.stage.finish(NS, f"{name}-1-0-a1", ending(SHORT, Place(1, 0, 1, Stage.BASELINE)))
    jobs.until_condition(NS, name, "Succeeded")


def test_an_edit_of_a_running_job_touches_no_pod(jobs: Jobs, name: str) -> None:
    """This server has no CEL, so the edit gets through; newer ones refuse it at once."""
    jobs.stage.without_cel()
    jobs.create(NS, name, play(hold=lambda place: place.stage is Stage.BASELINE))
    jobs.until_stage(NS, name, "baseline")
    jobs.edit(NS, name, weights={"bits": 4})
    jobs.until_condition(NS, name, "Stalled", reason="SpecChanged")
    assert f"{name}-1-0-a1" in jobs.pods(NS, name)
    jobs.edit(NS, name, weights={"bits": 8})
    jobs.until(NS, name, lambda s: mark(s, "Stalled") == ("", ""))
    jobs.stage.finish(NS, f"{name}-1-0-a1", ending(SHORT, Place(1, 0, 1, Stage.BASELINE)))
    assert jobs.until_condition(NS, name, "Succeeded").get("restartCount", 0) == 0


def test_suspended_in_a_stage_it_goes_on_in_that_stage(jobs: Jobs, name: str) -> None:
    held = {Stage.CALIBRATE}
    jobs.create(NS, name, play(shards=2, hold=lambda place: place.stage in held), parallelism=2)
    jobs.until_stage(NS, name, "calibrate")
    jobs.edit(NS, name, runPolicy={"suspend": True})
    suspended = jobs.until_condition(NS, name, "Suspended")
    assert mark(suspended, "Running")[0] == "False"
    jobs.stage.until_pods(NS, name, lambda all_: not [pod for pod in all_ if "-2-" in pod])
    held.clear()
    jobs.edit(NS, name, runPolicy={"suspend": False})
    done = jobs.until_condition(NS, name, "Succeeded")
    assert mark(done, "Suspended") == ("False", "Resumed")
    assert done.get("restartCount", 0) == 0
    steps = Counter(pod[len(name) + 1 :].split("-")[0] for pod in jobs.made(NS, name))
    assert steps == {"0": 1, "1": 1, "2": 4, "3": 1, "4": 1, "5": 1}


def test_a_job_created_suspended_makes_nothing(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play(), runPolicy={"suspend": True})
    jobs.until_condition(NS, name, "Suspended")
    assert not jobs.stage.exists(f"/api/v1/namespaces/{NS}/configmaps/{name}-quantization")
    jobs.edit(NS, name, runPolicy={"suspend": False})
    jobs.until_condition(NS, name, "Succeeded")
    assert jobs.made(NS, name)[0] == f"{name}-0-0-a0"


def test_a_successor_of_the_same_name_shows_nothing_of_the_old_job(jobs: Jobs, name: str) -> None:
    trouble = {(1, 0): Exit(code=1, message="boom")}
    old = jobs.create(NS, name, play(trouble=trouble, hold=lambda place: place.step == 2))["metadata"]["uid"]
    before = jobs.until_stage(NS, name, "calibrate")
    assert before["restartCount"] == 1
    jobs.delete(NS, name)
    jobs.stage.until_gone(JOBS.format(NS), name)
    new = jobs.create(NS, name, play(hold=lambda place: place.step == 0))["metadata"]["uid"]
    status = jobs.until_stage(NS, name, "export")
    assert old != new
    assert (status.get("restartCount", 0), status.get("attempt", 0), status.get("step", 0)) == (0, 0, 0)
    assert not {"lastFailure", "comparison", "headline", "warnings"} & set(status)
    assert mark(status, "Baselined") == ("", "")
    pods = jobs.client.get(f"{PODS.format(NS)}/{name}-0-0-a0")
    assert pods["metadata"]["ownerReferences"][0]["uid"] == new
    jobs.stage.finish(NS, f"{name}-0-0-a0", ending(SHORT, Place(0, 0, 0, Stage.EXPORT)))
    jobs.until_condition(NS, name, "Succeeded")


def test_a_deleted_job_leaves_nothing(jobs: Jobs, name: str) -> None:
    jobs.create(NS, name, play(hold=lambda place: place.step == 1))
    jobs.until_stage(NS, name, "baseline")
    jobs.delete(NS, name)
    jobs.stage.until_gone(JOBS.format(NS), name)
    jobs.stage.until_pods(NS, name, lambda pods: not pods)
    jobs.stage.until_gone(f"/api/v1/namespaces/{NS}/configmaps", f"{name}-quantization")


def test_a_job_managed_by_another_controller_is_left_alone(jobs: Jobs, name: str) -> None:
    jobs.create(NS, f"{name}-managed", play(), runPolicy={"managedBy": "kueue.x-k8s.io/multikueue"})
    jobs.create(NS, name, play())
    jobs.until_condition(NS, name, "Succeeded")
    assert jobs.get(NS, f"{name}-managed").get("status", {}).get("observedGeneration") == -1
    assert not [e for e in jobs.stage.writes(NS) if f"{name}-managed" in e["requestURI"]]


def test_the_operator_lives_and_met_nothing_that_it_did_not_expect(shared_operator: Operator) -> None:
    assert shared_operator.running(), shared_operator.tail()
    assert "Traceback" not in shared_operator.log.read_text(), shared_operator.tail()
