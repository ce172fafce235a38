"""`slipway list`, `wait`, `suspend` and `logs --rank` on resources as real runs left them, and on made ones."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from slipway.cli import suspension, waiting
from slipway.cli.cluster import Cluster, ClusterError, NotThereError
from slipway.cli.ranks import chosen
from slipway.cli.views import listing
from slipway.cli.views.verdict import Exit
from slipway.reconcile import labels
from tests.unit.cli.recorded import NOW, RECORDED

MARK = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["Ready", "Failed", "Stalled", "Running", "Suspended"]),
        "status": st.sampled_from(["True", "False", "Unknown"]),
        "reason": st.just("Reason"),
    }
)
MARKS = st.lists(MARK, unique_by=lambda mark: mark["type"])
JOBS = st.sampled_from(["TrainingJob", "QuantizationJob"])
POLICIES = st.sampled_from([None, {}, {"suspend": True}])


def resource(marks: list[dict[str, Any]], *, seen: bool = True, ended: bool = False) -> dict[str, Any]:
    status: dict[str, Any] = {"conditions": marks, "observedGeneration": 2 if seen else 1}
    if ended:
        status["completionTime"] = "2026-11-01T00:00:00Z"
    return {"kind": "TrainingJob", "metadata": {"name": "a", "generation": 2}, "spec": {}, "status": status}


def test_a_table_has_a_row_for_each_in_80_columns() -> None:
    screen = io.StringIO()
    Console(file=screen, width=80).print(listing.table(list(RECORDED.values()), NOW, namespaces=True))
    lines = screen.getvalue().splitlines()
    assert len(lines) >= len(RECORDED) + 1
    assert max(map(len, lines)) <= 80
    for obj in RECORDED.values():
        assert obj["metadata"]["name"] in screen.getvalue()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"queue": {"position": 3, "length": 7, "missing": "2 GPUs"}}, "3 of 7 in line"),
        ({"progress": {"percent": 0}}, "0 %"),
        ({}, ""),
    ],
)
def test_progress(status: dict[str, Any], words: str) -> None:
    assert listing.progress({"kind": "TrainingJob", "status": status}) == words


@given(MARKS, st.booleans(), st.booleans(), st.sampled_from(["Ready", "Running", "Failed", "Suspended", "Deleted"]))
def test_waiting_ends_well_only_with_what_was_waited_for(
    marks: list[dict[str, Any]], seen: bool, ended: bool, wanted: str
) -> None:
    code = waiting.outcome(resource(marks, seen=seen, ended=ended), wanted)
    true = {mark["type"] for mark in marks if mark["status"] == "True"}
    if code is Exit.READY:
        assert seen
        assert wanted in true
    if wanted == "Deleted" or not seen:
        assert code is None or (ended and wanted != "Deleted")
    elif wanted not in true and true & {"Failed", "Stalled"}:
        assert code is Exit.FAILED, "what has failed is not waited for until the time is over"


def test_waiting_for_a_running_job_ends_when_it_has_succeeded_unseen() -> None:
    done = resource([{"type": "Ready", "status": "True", "reason": "Succeeded"}], ended=True)
    assert waiting.outcome(done, "Running") is Exit.FAILED
    assert waiting.outcome(None, "Deleted") is Exit.READY
    assert waiting.outcome(None, "Ready") is Exit.NOT_THERE


@given(JOBS, POLICIES, st.booleans())
def test_a_suspension_patches_only_what_changes(kind: str, policy: dict[str, bool] | None, wanted: bool) -> None:
    obj = {"kind": kind, "metadata": {"name": "a"}, "spec": {} if policy is None else {"runPolicy": policy}}
    change = suspension.patch(obj, suspend=wanted)
    before = bool((policy or {}).get("suspend"))
    assert (change is None) == (before is wanted)
    if change:
        assert change == {"spec": {"runPolicy": {"suspend": wanted}}}


@pytest.mark.parametrize(
    ("kind", "words"),
    [("InferenceService", "kubectl scale infsvc/a --replicas=0"), ("TrainingRuntime", "runs nothing")],
)
def test_what_cannot_be_suspended_says_what_to_do(kind: str, words: str) -> None:
    with pytest.raises(suspension.NotSuspendableError, match=words):
        suspension.patch({"kind": kind, "metadata": {"name": "a"}, "spec": {}}, suspend=True)


@pytest.mark.parametrize(
    ("metadata", "program"),
    [
        ({"annotations": {"argocd.argoproj.io/tracking-id": "x"}}, "Argo CD"),
        ({"labels": {"kustomize.toolkit.fluxcd.io/name": "x"}}, "Flux"),
        ({"labels": {"team": "x"}}, ""),
    ],
)
def test_who_may_set_it_back_is_named(metadata: dict[str, Any], program: str) -> None:
    assert suspension.keeper({"metadata": metadata}) == program


@pytest.mark.parametrize(
    ("refusal", "kept"),
    [("cannot list: Forbidden", True), ("doesn't have a resource type", True), ("connection refused", False)],
)
def test_only_a_missing_right_or_kind_leaves_a_kind_out(tmp_path: Path, refusal: str, kept: bool) -> None:
    """kubectl of a tenant: one kind is refused. A server that fails half-way must not look like an empty namespace."""
    program = tmp_path / "kubectl"
    listed = json.dumps({"items": [{"kind": "TrainingJob"}]})
    cases = f"*,*) echo Forbidden >&2; exit 1;; *trainingjobs*) echo '{listed}';; *) echo \"{refusal}\" >&2; exit 1;;"
    program.write_text(f'#!/bin/sh\ncase "$*" in {cases} esac\n')
    program.chmod(0o755)
    cluster = Cluster(program=str(program))
    if kept:
        assert cluster.resources() == [{"kind": "TrainingJob"}]
    else:
        with pytest.raises(ClusterError, match="connection refused"):
            cluster.resources()


def pod(node: int, attempt: int) -> dict[str, Any]:
    marks = {labels.REPLICA_INDEX: str(node), labels.ATTEMPT: str(attempt)}
    return {"metadata": {"name": f"a-node-{node}-a{attempt}", "labels": marks}}


def test_a_rank_is_on_the_node_that_holds_it() -> None:
    trainer = {"image": "registry.example.com/a:1", "command": ["python", "a.py"]}
    spec = {"numNodes": 2, "numProcPerNode": 4, "trainer": trainer}
    job = {"kind": "TrainingJob", "metadata": {"name": "a"}, "spec": spec}
    pods = [pod(0, 1), pod(1, 1), pod(0, 0), pod(1, 0)]

    def names(*, every: bool = False, **asked: Any) -> list[str]:
        return [one["metadata"]["name"] for one in chosen(job, pods, every=every, **asked)]

    assert names() == ["a-node-0-a1"]
    assert names(rank=3) == ["a-node-0-a1"]
    assert names(rank=4) == ["a-node-1-a1"]
    assert names(node=1) == ["a-node-1-a1"]
    assert names(every=True) == ["a-node-0-a1", "a-node-1-a1"]
    assert names(pod="a-node-1-a0") == ["a-node-1-a0"]
    with pytest.raises(NotThereError, match="no rank 8, which is on node 2; there are nodes 0, 1"):
        names(rank=8)
    with pytest.raises(NotThereError, match="no node 2"):
        names(node=2)
