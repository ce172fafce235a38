"""What the commands make of resources as real runs left them (manifests/argocd/testdata) and of broken ones."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from slipway.cli.cluster import NotThereError, find
from slipway.cli.views.ages import duration
from slipway.cli.views.lineage import lineage
from slipway.cli.views.screen import View, render
from slipway.cli.views.verdict import Exit, verdict
from tests.unit.cli.recorded import NOW, RECORDED

CODES = {"healthy": Exit.READY, "degraded": Exit.FAILED}
CHAIN = [RECORDED[f"{kind}-healthy"] for kind in ("trainingjob", "quantizationjob", "inferenceservice")]


def _shown(view: View, width: int = 160) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width).print(render(view))
    return screen.getvalue()


@pytest.mark.parametrize("case", RECORDED)
def test_a_terminal_of_80_columns_shows_all_of_it(case: str) -> None:
    obj = RECORDED[case]
    lines = _shown(View(obj, [], lineage(obj, [obj]), NOW), width=80).splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    if digest := ((obj.get("status") or {}).get("artifact") or {}).get("digest"):
        assert any(digest in line for line in lines), "a digest is copied whole, or not at all"


def test_each_message_is_shown_once() -> None:
    message = "3 of 4 pods run; node-3 waits for a GPU"
    marks = [{"type": kind, "status": "True", "reason": "R", "message": message} for kind in ("Ready", "Reconciling")]
    obj = {**RECORDED["trainingjob-progressing"], "status": {"conditions": marks}}
    assert _shown(View(obj, [], lineage(obj, [obj]), NOW)).count(message) == 1


def test_a_job_in_the_line_shows_its_place_and_what_it_waits_for() -> None:
    obj = {**RECORDED["trainingjob-progressing"]}
    queue = {"position": 2, "length": 5, "missing": "8 nvidia.com/gpu"}
    status = {**obj["status"], "queue": queue, "queuedTime": "2026-11-30T22:00:00Z"}
    shown = _shown(View({**obj, "status": status}, [], lineage(obj, [obj]), NOW))
    assert "in line 2 of 5, for 2 h 0 min: 8 nvidia.com/gpu" in shown


def test_a_gang_of_500_leaves_room_for_what_is_wrong_with_it() -> None:
    obj = RECORDED["trainingjob-progressing"]
    pods = [{"metadata": {"name": f"p{n}"}} for n in range(500)]
    assert "and 492 more" in _shown(View(obj, pods, lineage(obj, [obj]), NOW), width=80)


@pytest.mark.parametrize("case", RECORDED)
def test_verdicts(case: str) -> None:
    scaled_to_zero = case == "inferenceservice-suspended"
    expected = Exit.READY if scaled_to_zero else CODES.get(case.rsplit("-", maxsplit=1)[-1], Exit.IN_PROGRESS)
    assert verdict(RECORDED[case]) is expected


@pytest.mark.parametrize("case", RECORDED)
def test_every_state_has_a_screen(case: str) -> None:
    obj = RECORDED[case]
    shown = _shown(View(obj, [], lineage(obj, [obj]), NOW))
    assert obj["metadata"]["name"] in shown
    for mark in (obj.get("status") or {}).get("conditions") or []:
        assert mark["type"] in shown


def test_a_failure_shows_where_and_the_end_of_its_log() -> None:
    obj = RECORDED["trainingjob-degraded"]
    shown = _shown(View(obj, [], lineage(obj, [obj]), NOW, log="Traceback\nnowhere to be seen"))
    for words in ("fails-node-0-a0", "exit code 1", "nowhere to be seen", "MaxRestartsExceeded"):
        assert words in shown


def test_progress_has_a_bar_and_what_is_left() -> None:
    obj = {**RECORDED["trainingjob-progressing"]}
    figures = [{"name": "loss", "value": "0.25"}]
    progress = {"percent": 40, "step": 4, "totalSteps": 10, "estimatedRemainingSeconds": 3725, "metrics": figures}
    shown = _shown(View({**obj, "status": {**obj["status"], "progress": progress}}, [], lineage(obj, [obj]), NOW))
    assert "40 %, step 4 of 10, 1 h 2 min left, loss 0.25" in shown
    assert "━" in shown


@pytest.mark.parametrize("focus", range(3))
def test_lineage_is_the_same_from_every_link(focus: int) -> None:
    tree = lineage(CHAIN[focus], CHAIN)
    titles = []
    while True:
        titles.append(tree.title)
        if not tree.made:
            break
        (tree,) = tree.made
    assert titles == ["data set digits", "TrainingJob/trains", "QuantizationJob/shrinks", "InferenceService/serves"]


def test_lineage_ends_where_nothing_is_known_and_in_a_circle() -> None:
    assert lineage(CHAIN[2], [CHAIN[2]]).title == "QuantizationJob/shrinks (not there)"
    circle: list[dict[str, Any]] = [
        {"kind": "QuantizationJob", "metadata": {"name": n}, "spec": {"model": {"from": {"quantizationJob": m}}}}
        for n, m in (("a", "b"), ("b", "a"))
    ]
    (second,) = lineage(circle[0], circle).made[0].made
    assert not second.made


@pytest.mark.parametrize(
    ("name", "found"),
    [("trains", "TrainingJob"), ("tj/trains", "TrainingJob"), ("inferenceservices/serves", "InferenceService")],
)
def test_names(name: str, found: str) -> None:
    assert find(CHAIN, name)["kind"] == found


@pytest.mark.parametrize(
    ("name", "words"),
    [("nobody", "the namespace holds tj/trains"), ("pod/trains", "no kind"), ("qj/trains", "not there")],
)
def test_names_that_mean_nothing(name: str, words: str) -> None:
    with pytest.raises(NotThereError, match=words):
        find(CHAIN, name)


def test_a_name_of_two_kinds_has_to_say_which() -> None:
    twin = {**CHAIN[0], "kind": "QuantizationJob"}
    with pytest.raises(NotThereError, match="tj/trains or qj/trains"):
        find([CHAIN[0], twin], "trains")


@pytest.mark.parametrize(
    ("seconds", "words"), [(59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90000, "25 h 0 min"), (259200, "3 d")]
)
def test_durations(seconds: int, words: str) -> None:
    assert duration(seconds) == words
