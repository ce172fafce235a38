"""A job's next status, drafted in the words that kubectl wait, Argo CD and Flux judge by. Pure; called by the plans.

While progressing: Ready=Unknown and Reconciling=True. Ready=False comes only with Stalled or a failure (Argo CD calls
Ready=False degraded). Reconciling and Stalled are absent when all is well (kstatus).
"""

import copy
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from slipway.api.common.types import Reason
from slipway.reconcile.pods.observed import Failure
from slipway.reconcile.run_state import RUN_FIELDS, RunState, read_run
from slipway.runtime import conditions
from slipway.runtime.conditions import format_time, last_words

UNSEEN = -1


class StatusDraft:
    """A status in the making; the one it starts from is not changed."""

    def __init__(self, old: Mapping[str, Any] | None, generation: int, now: datetime) -> None:
        self.old: dict[str, Any] = dict(old or {})
        self.fields: dict[str, Any] = copy.deepcopy(self.old)
        if self.old.get("observedGeneration") == UNSEEN:
            # The schema's default says when nobody has looked yet; its time, 1970, is not a transition.
            self.fields = {}
        self._run: tuple[list[Any], RunState] | None = None
        self.generation = generation
        self.now = now

    @property
    def run(self) -> RunState:
        """Run so far, as the draft has it; asked many times in one look, so parsed anew only after a change."""
        basis = [self.fields.get(field) for field in RUN_FIELDS]
        if self._run is None or any(new is not old for new, old in zip(basis, self._run[0], strict=True)):
            self._run = (basis, read_run(self.fields))
        return self._run[1]

    def condition(self, kind: str, status: str, reason: str, message: str) -> Self:
        """Set one condition."""
        self.fields["conditions"] = conditions.set_condition(
            self.fields.get("conditions") or [], kind, status, reason, message, self.now, self.generation
        )
        return self

    def without(self, *kinds: str) -> Self:
        """Remove conditions."""
        for kind in kinds:
            self.fields["conditions"] = conditions.remove(self.fields.get("conditions") or [], kind)
        return self

    def unset(self, *fields: str) -> Self:
        """Remove fields."""
        for field in fields:
            self.fields.pop(field, None)
        return self

    def progressing(self, reason: str, message: str) -> Self:
        """Set the conditions of an object on its way: nobody has to do anything."""
        return (
            self.condition("Ready", "Unknown", reason, message)
            .condition("Reconciling", "True", reason, message)
            .without("Stalled")
        )

    def stalled(self, reason: str, message: str) -> Self:
        """Set the conditions of an object at a stop.

        Nothing more happens until somebody changes something; the message says what.
        """
        return (
            self.condition("Ready", "False", reason, message)
            .condition("Stalled", "True", reason, message)
            .without("Reconciling")
        )

    def ready(self, reason: str, message: str) -> Self:
        """Set the conditions of an object with which all is well."""
        return self.condition("Ready", "True", reason, message).without("Reconciling", "Stalled")

    def bank_active_time(self) -> Self:
        """Add the running time that ends now to what was used before; Running is to become False."""
        if self.run.running_since is not None:
            self.fields["activeSeconds"] = self.run.active(self.now)
        return self

    def next_attempt(self) -> Self:
        """Number the gang anew, so that names of pods that are still terminating are never needed again."""
        self.fields["attempt"] = self.run.attempt + 1
        return self.bank_active_time().unset(
            "attemptTime", "queuedTime", "runningTime", "replicaStatuses", "nodes", "elastic", "queue", "completed"
        )

    def finish(self) -> Self:
        """End the run. Every terminal path passes here: no completionTime is ever forgotten."""
        self.bank_active_time().unset("runningTime")
        self.fields.setdefault("startTime", format_time(self.now))
        self.fields["completionTime"] = format_time(self.now)
        return self.unset("queue", "backoff").without("Reconciling", "Restarting")

    def succeed(self, message: str) -> Self:
        """End the run as a success."""
        self.finish().condition("Running", "False", Reason.SUCCEEDED, message).condition(
            "Succeeded", "True", Reason.SUCCEEDED, message
        )
        return self.ready(Reason.SUCCEEDED, message)

    def fail(self, reason: str, message: str) -> Self:
        """End the run as a failure."""
        self.finish().condition("Running", "False", reason, message).condition("Failed", "True", reason, message)
        return self.stalled(reason, message)

    def record_failure(self, failure: Failure, attempt: int | None = None) -> Self:
        """Remember who failed, where and why; in the current attempt, if no other is given."""
        entry = {
            "pod": failure.pod,
            "node": failure.node,
            "container": failure.container,
            "exitCode": failure.exit_code,
            "signal": failure.signal,
            "reason": str(failure.reason),
            "message": last_words(failure.message),
            "time": format_time(failure.time),
            "attempt": self.run.attempt if attempt is None else attempt,
        }
        self.fields["lastFailure"] = {key: value for key, value in entry.items() if value not in (None, "")}
        return self

    def explain_failure(self, cause: Failure) -> Self:
        """Replace the last failure by another of the same attempt, of which it has come.

        Conditions that name the first one say so. What was decided stays decided.
        """
        told = self.fields["lastFailure"]
        named = describe(read_failure(told))
        self.fields["conditions"] = [
            {**condition, "message": f"{condition['message']}; it came of {describe(cause)}"}
            if named in condition["message"]
            else condition
            for condition in self.fields.get("conditions") or []
        ]
        return self.record_failure(cause, told["attempt"])

    def done(self) -> dict[str, Any]:
        """The status for the wire. What was set and taken back on the way has not flipped, nor changed its place."""
        before = self.old.get("conditions") or [] if self.old.get("observedGeneration") != UNSEEN else []
        settled = [_unflipped(condition, before) for condition in self.fields.get("conditions") or []]
        self.fields["conditions"] = sorted(settled, key=lambda condition: str(condition["type"]))
        self.fields["observedGeneration"] = self.generation
        self.fields = _without_empty(self.fields)
        return self.fields


def _unflipped(condition: dict[str, Any], before: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    old = conditions.get(before, condition["type"])
    if old is None or old["status"] != condition["status"]:
        return condition
    return {**condition, "lastTransitionTime": old["lastTransitionTime"]}


def _without_empty(value: Any) -> Any:
    """Drop empty texts: they say nothing, and Debian's Kubernetes 1.20 takes them for null and refuses the status."""
    if isinstance(value, dict):
        return {key: _without_empty(item) for key, item in value.items() if item != ""}
    if isinstance(value, list):
        return [_without_empty(item) for item in value]
    return value


def describe(failure: Failure) -> str:
    """One sentence for a condition's message."""
    where = f"pod {failure.pod}" + (f" on node {failure.node}" if failure.node else "")
    how = f"{failure.reason}"
    if failure.signal:
        how += f", {failure.signal}"
    if failure.exit_code is not None:
        how += f", exit code {failure.exit_code}"
    return f"{where}: {how}"


def read_failure(told: Mapping[str, Any]) -> Failure:
    """Read lastFailure as it was recorded."""
    return Failure(
        pod=told["pod"],
        node=told.get("node") or "",
        container=told.get("container") or "",
        exit_code=told.get("exitCode"),
        signal=told.get("signal") or "",
        reason=told["reason"],
        message=told.get("message") or "",
        time=conditions.parse_time(told["time"]),
    )
