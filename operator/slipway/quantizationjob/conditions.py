"""Conditions of what has been proven so far, for people and `kubectl wait` to ask for. Pure; called by gang.py.

Baselined and Calibrated become true with their stages, Escalated as soon as the ladder is climbed beyond its first
rung. The gates and Published are told at the end, for whatever outcome: none of them is left open then.
"""

from collections.abc import Sequence

from slipway.api.common.types import Reason
from slipway.api.quantization.ladder import CHEAP, Goal, Rung, climbing, goal_of
from slipway.api.quantization.status import Gate, GateResult, Outcome, Stage, StageResult
from slipway.reconcile.status import StatusDraft
from slipway.runtime.conditions import is_true

# Which condition a stage's success makes true.
_PROVES = {Stage.BASELINE: "Baselined", Stage.CALIBRATE: "Calibrated"}
# Which rung a stage is the beginning of.
_STARTS = {Stage.SENSITIVITY: Rung.MIXED_PRECISION, Stage.QAT: Rung.QAT}


# Something that passed its gates was published; whether its weights are integers is the outcome's to say.
PASSED = frozenset({Outcome.QUANTIZED, Outcome.HALF_PRECISION, Outcome.COMPRESSED})


def of_stage(result: StageResult, ladder: Sequence[Rung], draft: StatusDraft, goal: Goal | None = None) -> None:
    """Set the conditions that a stage's success proves."""
    if proven := _PROVES.get(result.stage):
        draft.condition(proven, "True", Reason.STAGE_DONE, result.message or proven)
    beyond = _beyond(result, ladder, goal)
    if beyond:
        before = f"{ladder[0]} does not suffice" if goal_of(ladder, goal) is None else "no cheap rung suffices"
        draft.condition("Escalated", "True", Reason.ESCALATED, f"{before}: on to {beyond}")


def of_job(result: StageResult, ladder: Sequence[Rung], draft: StatusDraft, goal: Goal | None = None) -> None:
    """Set the conditions of a job whose last stage has ended; `result.outcome` is set."""
    if not _beyond(result, ladder, goal) and not is_true(draft.fields.get("conditions") or [], "Escalated"):
        competed = goal_of(ladder, goal) is not None
        first = "the ladder ended with its " + ("cheap rungs" if competed else f"first rung, {ladder[0]}")
        draft.condition("Escalated", "False", _reason(result.outcome in PASSED), first)
    _gates(result, draft)
    if result.artifact is None:
        draft.condition("Published", "False", Reason.GATE_FAILED, "no candidate passes the gates: nothing is published")
    else:
        what = "the float model" if result.outcome is Outcome.KEPT_FLOAT else result.selected
        draft.condition("Published", "True", Reason.STAGE_DONE, f"published {what} at {result.artifact.uri}")


def _gates(result: StageResult, draft: StatusDraft) -> None:
    passes = result.outcome in PASSED
    name = result.selected or "the selected candidate"
    whole = f"{name} passes" if passes else result.message or "no candidate passes"
    accuracy = [gate for gate in result.gates if gate.name is Gate.ACCURACY]
    others = [gate for gate in result.gates if gate.name is not Gate.ACCURACY]
    _gate("AccuracyGatePassed", accuracy, draft, holds=passes, otherwise=whole)
    # A job whose candidates could not even be built has nothing whose size or speed could be judged.
    holds = passes or bool(accuracy)
    unasked = "neither a size nor a latency gate is asked for" if holds else whole
    _gate("PerformanceGatePassed", others, draft, holds=holds, otherwise=unasked)


def _gate(kind: str, gates: Sequence[GateResult], draft: StatusDraft, *, holds: bool, otherwise: str) -> None:
    """Set a gate's condition. `holds` and `otherwise` are what is said when the stage told nothing of these gates."""
    passed = all(gate.passed for gate in gates) if gates else holds
    words = "; ".join(gate.message or f"{gate.name} within its limit" for gate in gates)
    draft.condition(kind, "True" if passed else "False", _reason(passed), words or otherwise)


def _reason(passed: bool) -> Reason:
    return Reason.GATE_PASSED if passed else Reason.GATE_FAILED


def _beyond(result: StageResult, ladder: Sequence[Rung], goal: Goal | None) -> str:
    """The rungs after the first, or after those that compete, that were tried or are about to be; or nothing."""
    tried = {row.rung for row in result.comparison}
    if result.next is not None and (coming := _STARTS.get(result.next)):
        tried.add(coming)
    compete = goal_of(ladder, goal) is not None
    later = [rung for rung in climbing(ladder, goal)[1:] if not (compete and rung in CHEAP)]
    return ", ".join(rung for rung in later if rung in tried)
