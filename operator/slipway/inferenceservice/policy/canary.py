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
class CanaryState:
    """Position of a canary: its phase and step, and the reason."""

    phase: CanaryPhase
    step: int
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class StepObservation:
    """Observation of a canary. `in_place`: both revisions have the pods of this step, ready. `watched`: for so many
    seconds at this step. `broken`: why its pods do not serve, if that is final. `unread`: why there are no figures.
    """

    in_place: bool
    watched: float
    verdict: Verdict | None
    broken: str = ""
    unread: str = ""


def next_state(canary: Canary, stand: CanaryState, observation: StepObservation) -> CanaryState:
    """Position of the canary after this look."""
    if stand.phase in {CanaryPhase.PROMOTED, CanaryPhase.ROLLED_BACK}:
        return stand
    if observation.broken:
        return CanaryState(CanaryPhase.ROLLED_BACK, stand.step, Reason.MODEL_LOAD_FAILED, observation.broken)
    if stand.step >= len(canary.steps):
        # The steps were edited while it ran: whoever asks for fewer is content with those that it has passed.
        return CanaryState(CanaryPhase.PROMOTED, stand.step, Reason.GATE_PASSED, "all steps passed")
    if stand.phase is CanaryPhase.STARTING:
        if not observation.in_place:
            return CanaryState(CanaryPhase.STARTING, stand.step, Reason.ROLLING_OUT, "its pods are starting")
        return CanaryState(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, "its pods serve")
    return _analysed(canary, stand, observation)


def _analysed(canary: Canary, stand: CanaryState, observation: StepObservation) -> CanaryState:
    verdict = observation.verdict
    if verdict is None:
        why = observation.unread or "no figures yet"
        return CanaryState(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, why)
    if verdict.outcome is Outcome.BAD:
        return CanaryState(CanaryPhase.ROLLED_BACK, stand.step, Reason.GATE_FAILED, verdict.message)
    time = canary.steps[stand.step].analysis_seconds
    if observation.unread:
        # The pod that does not tell may be the one that is broken.
        message = f"{verdict.message}; {observation.unread}"
        return CanaryState(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, message)
    if verdict.outcome is Outcome.WAIT or observation.watched < time:
        return CanaryState(CanaryPhase.ANALYSING, stand.step, Reason.CANARY_ANALYSIS, verdict.message)
    if stand.step + 1 < len(canary.steps):
        return CanaryState(CanaryPhase.STARTING, stand.step + 1, Reason.GATE_PASSED, verdict.message)
    return CanaryState(CanaryPhase.PROMOTED, stand.step, Reason.GATE_PASSED, verdict.message)
