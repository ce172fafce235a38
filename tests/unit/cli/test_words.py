"""What the commands make of resources as real runs left them (manifests/argocd/testdata) and of broken ones."""

from __future__ import annotations

import io
from typing import Any

import pytest
import yaml
from rich.console import Console

from slipway.cli.cluster import NotThereError, find
from slipway.cli.lineage import lineage
from slipway.cli.screen import View, duration, render
from slipway.cli.verdict import Exit, verdict
from tests.cluster.paths import REPOSITORY

RECORDED = {
    path.stem: yaml.safe_load(path.read_text())
    for path in sorted((REPOSITORY / "manifests" / "argocd" / "testdata").glob("*.yaml"))
}
CODES = {"healthy": Exit.READY, "degraded": Exit.FAILED}
CHAIN = [RECORDED[f"{kind}-healthy"] for kind in ("trainingjob", "quantizationjob", "inferenceservice")]


def _shown(view: View) -> str:
    screen = io.StringIO()
    Console(file=screen, width=160).print(render(view))
    return screen.getvalue()


@pytest.mark.parametrize("case", RECORDED)
def test_verdicts(case: str) -> None:
    scaled_to_zero = case == "inferenceservice-suspended"
    expected = Exit.READY if scaled_to_zero else CODES.get(case.rsplit("-", maxsplit=1)[-1], Exit.IN_PROGRESS)
    assert verdict(RECORDED[case]) is expected


@pytest.mark.parametrize("case", RECORDED)
def test_every_state_has_a_screen(case: str) -> None:
    obj = RECORDED[case]
    shown = _shown(View(obj, [], lineage(obj, [obj])))
    assert obj["metadata"]["name"] in shown
    for mark in (obj.get("status") or {}).get("conditions") or []:
        assert mark["type"] in shown


def test_a_failure_shows_where_and_the_end_of_its_log() -> None:
    obj = RECORDED["trainingjob-degraded"]
    shown = _shown(View(obj, [], lineage(obj, [obj]), log="Traceback\nnowhere to be seen"))
    for words in ("fails-node-0-a0", "exit code 1", "nowhere to be seen", "MaxRestartsExceeded"):
        assert words in shown


def test_progress_has_a_bar_and_what_is_left() -> None:
    obj = {**RECORDED["trainingjob-progressing"]}
    figures = [{"name": "loss", "value": "0.25"}]
    progress = {"percent": 40, "step": 4, "totalSteps": 10, "estimatedRemainingSeconds": 3725, "metrics": figures}
    shown = _shown(View({**obj, "status": {**obj["status"], "progress": progress}}, [], lineage(obj, [obj])))
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
    ("seconds", "words"), [(59, "59 s"), (60, "1 min"), (3725, "1 h 2 min"), (90000, "25 h 0 min")]
)
def test_durations(seconds: int, words: str) -> None:
    assert duration(seconds) == words
