"""What a QuantizationJob's conditions say of its stages, its escalation, its gates and what was published."""

from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.api.quantization.ladder import LADDER, Rung
from slipway.api.quantization.status import Candidate, Gate, GateResult, Outcome, Stage, StageResult
from slipway.quantizationjob import conditions as proof
from slipway.reconcile.status import StatusDraft
from slipway.runtime import conditions

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ARTIFACT = {"uri": "pvc://models/int8", "digest": f"sha256:{'a' * 64}"}


def told(draft: StatusDraft) -> dict[str, str]:
    return {c["type"]: c["status"] for c in draft.fields.get("conditions") or []}


def words(draft: StatusDraft, kind: str) -> str:
    return str((conditions.get(draft.fields["conditions"], kind) or {})["message"])


BOTH = (Rung.STATIC_PER_TENSOR, Rung.STATIC_PER_CHANNEL)


def rows(*rungs: Rung) -> list[Candidate]:
    return [Candidate(name="float"), *(Candidate(name=f"{rung}-x", rung=rung) for rung in rungs)]


def stage(name: Stage, following: Stage | None, *rungs: Rung, ladder: tuple[Rung, ...] = LADDER) -> StatusDraft:
    draft = StatusDraft({}, 1, NOW)
    proof.of_stage(StageResult(stage=name, next=following, comparison=rows(*rungs)), ladder, draft)
    return draft


def end(outcome: Outcome, gates: list[GateResult], *rungs: Rung, ladder: tuple[Rung, ...] = LADDER) -> StatusDraft:
    fields: dict[str, Any] = {} if outcome is Outcome.REJECTED else {"artifact": ARTIFACT}
    draft = StatusDraft({}, 1, NOW)
    result = StageResult(
        stage=Stage.PUBLISH, outcome=outcome, selected="it", gates=gates, comparison=rows(*rungs), **fields
    )
    proof.of_stage(result, ladder, draft)
    proof.of_job(result, ladder, draft)
    return draft


def gate(name: Gate, passed: bool, message: str = "") -> GateResult:
    return GateResult(name=name, passed=passed, message=message)


def test_stages_prove_what_they_did():
    assert told(stage(Stage.EXPORT, Stage.BASELINE)) == {}
    assert told(stage(Stage.BASELINE, Stage.CALIBRATE)) == {"Baselined": "True"}
    assert told(stage(Stage.CALIBRATE, Stage.QUANTIZE)) == {"Calibrated": "True"}


@pytest.mark.parametrize(
    ("draft", "to"),
    [
        (stage(Stage.QUANTIZE, Stage.BENCHMARK, Rung.STATIC_PER_TENSOR), ""),
        # Cheap rungs compete; in a ladder that was written out the second is an escalation.
        (stage(Stage.QUANTIZE, Stage.BENCHMARK, *BOTH), ""),
        (stage(Stage.QUANTIZE, Stage.BENCHMARK, *BOTH, ladder=BOTH), "static-per-channel"),
        (stage(Stage.QUANTIZE, Stage.SENSITIVITY, Rung.STATIC_PER_TENSOR), "mixed-precision"),
        (stage(Stage.QUANTIZE, Stage.QAT, Rung.STATIC_PER_TENSOR), "qat"),
        # Asked for first of all, training is no escalation.
        (stage(Stage.BASELINE, Stage.QAT, ladder=(Rung.QAT,)), ""),
    ],
)
def test_escalated_as_soon_as_the_first_rung_does_not_suffice(draft: StatusDraft, to: str):
    assert told(draft).get("Escalated") == ("True" if to else None)
    if to:
        assert words(draft, "Escalated").endswith(f"on to {to}")


def test_the_first_rung_passes_every_gate():
    found = end(Outcome.QUANTIZED, [gate(Gate.ACCURACY, True, "drop 0 pt")], Rung.STATIC_PER_TENSOR)
    assert told(found) == {
        "AccuracyGatePassed": "True", "PerformanceGatePassed": "True", "Escalated": "False", "Published": "True",
    }  # fmt: skip
    assert words(found, "AccuracyGatePassed") == "drop 0 pt"
    assert "neither" in words(found, "PerformanceGatePassed")
    assert words(found, "Published") == "published it at pvc://models/int8"


def test_accurate_but_too_large_is_told_apart():
    gates = [gate(Gate.ACCURACY, True), gate(Gate.SIZE, False, "size: 0.80, at most 0.5"), gate(Gate.LATENCY, True)]
    found = end(Outcome.REJECTED, gates, Rung.STATIC_PER_TENSOR)
    assert told(found) == {
        "AccuracyGatePassed": "True", "PerformanceGatePassed": "False", "Escalated": "False", "Published": "False",
    }  # fmt: skip
    assert "size: 0.80, at most 0.5" in words(found, "PerformanceGatePassed")


def test_fast_but_wrong_is_told_apart():
    gates = [gate(Gate.ACCURACY, False, "drop 9 pt, limit 1 pt"), gate(Gate.LATENCY, True)]
    found = end(Outcome.KEPT_FLOAT, gates, *LADDER)
    assert told(found) == {
        "AccuracyGatePassed": "False", "PerformanceGatePassed": "True", "Escalated": "True", "Published": "True",
    }  # fmt: skip
    assert "the float model" in words(found, "Published")


def test_nothing_could_even_be_built():
    assert told(end(Outcome.REJECTED, [])) == {
        "AccuracyGatePassed": "False", "PerformanceGatePassed": "False", "Escalated": "False", "Published": "False",
    }  # fmt: skip
