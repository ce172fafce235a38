"""Argo CD and Flux judge what real runs said as a person would. The recordings: `python -m tests.api.gitops.record`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from tests.unit.gitops.health import ARGOCD, health
from tests.unit.gitops.kstatus import kstatus

CASES = yaml.safe_load((ARGOCD / "health_test.yaml").read_text())["tests"]
STATES = {"healthy", "progressing", "degraded", "suspended", "stale", "unseen", "no-status"}
# Flux has no word for suspended: a suspended job is on its way, and a service that has zero replicas has what it asks.
FLUX = {
    "healthy": {"Current"},
    "degraded": {"Failed"},
    "suspended": {"InProgress", "Current"},
    "progressing": {"InProgress"},
    "stale": {"InProgress"},
    "unseen": {"InProgress"},
    "no-status": {"Current"},
}


def _recorded(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ARGOCD / path).read_text())
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["inputPath"])
def test_argo_cd(case: dict[str, Any]) -> None:
    verdict = case["healthStatus"]
    assert health(_recorded(case["inputPath"])) == (verdict["status"], verdict["message"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["inputPath"])
def test_flux(case: dict[str, Any]) -> None:
    _, state = case["inputPath"].removesuffix(".yaml").split("-", 1)
    assert kstatus(_recorded(case["inputPath"])) in FLUX[state]


@pytest.mark.parametrize("kind", ["trainingjob", "quantizationjob", "inferenceservice"])
def test_every_state_of_every_kind_was_recorded(kind: str) -> None:
    recorded = {path.stem for path in (ARGOCD / "testdata").glob("*.yaml")}
    assert {f"{kind}-{state}" for state in STATES} <= recorded
    assert {f"testdata/{name}.yaml" for name in recorded} == {case["inputPath"] for case in CASES}


def test_an_unseen_resource_is_healthy_to_nobody() -> None:
    """What the CRDs' default status is for: without it Flux would go on before anything has happened."""
    for kind in ("trainingjob", "quantizationjob", "inferenceservice"):
        unseen = _recorded(f"testdata/{kind}-unseen.yaml")
        assert (health(unseen)[0], kstatus(unseen)) == ("Progressing", "InProgress")


def test_bad_news_about_an_earlier_spec_are_no_news() -> None:
    failed = copy.deepcopy(_recorded("testdata/trainingjob-degraded.yaml"))
    failed["metadata"]["generation"] += 1
    assert (health(failed)[0], kstatus(failed)) == ("Progressing", "InProgress")


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ([], "Progressing"),
        ([{"type": "Created", "status": "True"}], "Progressing"),
        ([{"type": "Ready", "status": "False", "reason": "X", "message": "y"}], "Degraded"),
        ([{"type": "Ready", "status": "Unknown"}], "Progressing"),
        ([{"type": "Ready", "status": "True"}, {"type": "Stalled", "status": "True", "reason": "X"}], "Degraded"),
        ([{"type": "Suspended", "status": "True"}, {"type": "Failed", "status": "True"}], "Degraded"),
    ],
)
def test_what_no_run_has_shown(conditions: list[dict[str, str]], status: str) -> None:
    assert health({"metadata": {"generation": 1}, "status": {"conditions": conditions}})[0] == status
