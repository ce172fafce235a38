"""Policy of a canary: steps forward, promotion or rollback, from where it stands and what the gate says. Pure.

Starting: its pods come up for the step's share. Analysing: they serve, and the gate compares. Every transition is
written to the status before anything follows from it.
"""

from dataclasses import dataclass

from slipway.api.common.types import Reason
from slipway.api.serving.rollout import Canary
from slipway.api.serving.status import CanaryPhase
from slipway.inferenceservice.policy.gate import Outcome, Verdict


@dataclass(frozen=True)
class Stand:
    """Position of a canary: its phase and step, and the reason."""

    phase: CanaryPhase
    step: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Sight:
    """Observation of a canary. `in_place`: both revisions have the pods of this step, ready. `watched`: for so many
    seconds at this step. `broken`: why its pods do not serve, if that is final. `unread`: why there are no figures.
    """

    in_place: bool
    watched: float
    verdict: Verdict | None
    broken: str = ""
    unread: str = ""


def follow(canary: Canary, stand: Stand, sight: Sight) -> Stand:
    """Position of the canary after this look."""
    if stand.phase in {CanaryPhase.PROMOTED, CanaryPhase.ROLLED_BACK}:
        return stand
    if sight.broken:
        return Stand(CanaryPhase.ROLLED_BACK, stand.step, Reason.MODEL_LOAD_FAILED, sight.broken)
    if stand.step >= len(canary.steps):
        # The steps were edited while it ran: whoever asks for fewer is content with those that it has passed.
        return Stand(CanaryPhase.PROMOTED, stand.step, Reason.GATE_PASSED, "all steps passed")
    if stand.phase is CanaryPhase.STARTING:
        if not sight.in_place:
            return Stand(CanaryPhase.STARTING, stand.step, Reason.ROLLING_OUT, "its pods are starting")
        return Stand(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, "its pods serve")
    return _analysed(canary, stand, sight)


def _analysed(canary: Canary, stand: Stand, sight: Sight) -> Stand:
    verdict = sight.verdict
    if verdict is None:
        why = sight.unread or "no figures yet"
        return Stand(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, why)
    if verdict.outcome is Outcome.BAD:
        return Stand(CanaryPhase.ROLLED_BACK, stand.step, Reason.GATE_FAILED, verdict.message)
    time = canary.steps[stand.step].analysis_seconds
    if sight.unread:
        # The pod that does not tell may be the one that is broken.
        message = f"{verdict.message}; {sight.unread}"
        return Stand(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, message)
    if verdict.outcome is Outcome.WAIT or sight.watched < time:
        return Stand(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, verdict.message)
    if stand.step + 1 < len(canary.steps):
        return Stand(CanaryPhase.STARTING, stand.step + 1, Reason.GATE_PASSED, verdict.message)
    return Stand(CanaryPhase.PROMOTED, stand.step, Reason.GATE_PASSED, verdict.message)
