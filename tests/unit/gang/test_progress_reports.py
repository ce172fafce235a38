"""Whose word counts for which job, and what of it the status shows."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.gang.progress_reports import MAX_METRICS, ProgressReports
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import PODS, Object, Resource
from slipway.runtime.servers.progress import Report
from slipway.runtime.servers.progress_server import Owner
from slipway.runtime.servers.token_review import PodIdentity

JOBS = Resource("slipway.dev", "v1alpha1", "trainingjobs", "TrainingJob")
KEY = Key("team", "job")
TIME = "2026-11-01T12:00:00Z"


def obj(name: str, uid: str, **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "team", "uid": uid, "resourceVersion": "1", **more}}


class Marked:
    def __init__(self) -> None:
        self.keys: list[Key] = []
        cache = Cache(lambda resource, change: None)
        jobs, pods = cache.add(JOBS), cache.add(PODS)
        jobs.put(obj("job", "job-1"))
        owner = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "TrainingJob",
            "name": "job",
            "uid": "job-1",
            "controller": True,
        }
        marks = {"slipway.dev/replica-index": "0", "slipway.dev/attempt": "0"}
        pods.put(obj("job-node-0-a0", "pod-1", ownerReferences=[owner], labels=marks))
        pods.put(obj("forged", "pod-4", ownerReferences=[owner], labels=marks))
        pods.put(obj("of-before", "pod-2", ownerReferences=[owner | {"uid": "job-0"}]))
        pods.put(obj("nobodys", "pod-3"))
        self.reports = ProgressReports(cache, JOBS, lambda key, seconds: self.keys.append(key))


@pytest.fixture
def marked() -> Marked:
    return Marked()


@pytest.mark.parametrize(
    ("name", "uid", "owns"),
    [
        ("job-node-0-a0", "pod-1", True),
        ("job-node-0-a0", "pod-0", False),
        ("of-before", "pod-2", False),
        ("nobodys", "pod-3", False),
        ("forged", "pod-4", False),
        ("unknown", "pod-9", False),
    ],
    ids=[
        "its own",
        "a pod of that name that is gone",
        "of a deleted job of that name",
        "a stranger's",
        "not called so",
        "not known",
    ],
)
def test_a_pod_speaks_for_the_job_that_owns_it(marked: Marked, name: str, uid: str, owns: bool) -> None:
    assert marked.reports.find_owner("team", "job", PodIdentity("team", name, uid)) == Owner("job-1", owns)
    assert marked.reports.find_owner("team", "other", PodIdentity("team", name, uid)) is None


def report(metrics: dict[str, str], percent: int | None = None) -> Report:
    return Report(percent, None, metrics, TIME)


def test_steps_have_fields_of_their_own_and_figures_are_bounded(marked: Marked) -> None:
    figures = {f"m{number}": "0.5" for number in range(MAX_METRICS + 9)}
    marked.reports.accept("team", "job", "job-1", report({"step": "30", "total_steps": "100", **figures}, 30))
    shown = marked.reports.progress_of(KEY, "job-1")
    assert shown is not None
    assert (shown["step"], shown["totalSteps"], shown["percent"]) == (30, 100, 30)
    assert len(shown["metrics"]) == MAX_METRICS
    assert shown["metrics"][0] == {"name": "m0", "value": "0.5"}
    assert "estimatedRemainingSeconds" not in shown
    assert marked.keys == [KEY]


@pytest.mark.parametrize("text", ["-1", "1.5", "many", "", "²"])
def test_a_step_that_is_no_number_is_left_out(marked: Marked, text: str) -> None:
    marked.reports.accept("team", "job", "job-1", report({"step": text}))
    assert marked.reports.progress_of(KEY, "job-1") == {"metrics": [], "lastUpdatedTime": TIME}


def test_nothing_of_an_earlier_job_of_the_name_is_shown(marked: Marked) -> None:
    marked.reports.accept("team", "job", "job-0", report({}, 99))
    assert marked.reports.progress_of(KEY, "job-1") is None
    marked.reports.accept("team", "job", "job-1", report({}, 1))
    assert marked.reports.progress_of(KEY, "job-0") is None
    marked.reports.forget(KEY)
    assert marked.reports.progress_of(KEY, "job-1") is None
