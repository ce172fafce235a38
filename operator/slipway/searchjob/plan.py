"""Plan for a SearchJob now: (object, children, suggestions, now) -> Plan. Pure; called by reconcile.py.

`look` brings the records of the trials up to date; `wanted` says how many new ones are to be chosen, by whomever; and
`plan` decides. The records are written before anything is made of them: killed anywhere, the next look makes the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.search.paths import Value
from slipway.api.search.searchjob import parse, spec_problems
from slipway.api.search.status import TrialState
from slipway.api.training import trainingjob
from slipway.reconcile.plan import Delete, Notice, Patch, Plan, Write
from slipway.reconcile.pods.observed import observe_pod
from slipway.reconcile.status import StatusDraft
from slipway.runtime import conditions
from slipway.runtime.client.resource import CONFIGMAPS, PODS, uid_of
from slipway.runtime.conditions import format_time
from slipway.searchjob import children, observe, status
from slipway.searchjob.job import Platform, SearchJob, identify
from slipway.searchjob.observe import Children
from slipway.searchjob.policy import choice, ending, stopping
from slipway.searchjob.record import Record
from slipway.trainingjob.job import TRAINING_JOBS


@dataclass(frozen=True)
class Look:
    """One look at a search: `before` as its status had it, `records` as they are now."""

    job: SearchJob
    draft: StatusDraft
    before: Sequence[Record]
    records: Sequence[Record]
    seen: Children
    platform: Platform

    @property
    def suspended(self) -> bool:
        """Tell whether the search is to stand still."""
        return self.job.spec.run_policy.suspend

    @property
    def resumed(self) -> bool:
        """Tell whether it stood still so far, and is to go on."""
        return not self.suspended and conditions.is_true(self.draft.old.get("conditions") or [], "Suspended")


def look(
    obj: Mapping[str, Any],
    trials: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    platform: Platform,
    now: datetime,
) -> Look | Plan:
    """Look at a search; a Plan where there is nothing to choose: it is gone, wrong, or has finished and may go."""
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp"):
        return Plan()
    draft = StatusDraft(obj.get("status"), metadata.get("generation") or 1, now)
    # All values are tried once for each spec, and again while it is wrong: it is not the same as to read it.
    tried = draft.old.get("observedGeneration") == draft.generation and not conditions.is_true(
        draft.old.get("conditions") or [], "Stalled"
    )
    spec, problems = (parse if tried else _checked(metadata["name"]))(obj.get("spec") or {})
    if spec is None:
        if draft.run.finished:
            return Plan()
        message = "; ".join(problems)
        notice = Notice("Warning", Reason.INVALID_SPEC, message)
        return Plan(status=draft.stalled(Reason.INVALID_SPEC, message).done(), notices=(notice,))
    job = identify(obj, spec)
    seen = observe.children(job, trials, [observe_pod(pod, now, children.CONTAINER) for pod in pods])
    before = status.records_of(draft)
    records = before if draft.run.finished else observe.update(job, before, seen)
    return Look(job, draft, before, records, seen, platform)


def _checked(name: str) -> Any:
    return lambda spec: spec_problems(name, spec)


def wanted(seen: Look) -> int:
    """Number of trials to choose now."""
    spec = seen.job.spec
    # A look that resumes trials writes its status last, and so chooses none.
    still = seen.draft.run.finished or seen.suspended or seen.resumed
    if still or ending.end(spec, seen.records) is not None:
        return 0
    free = spec.parallel_trials - sum(record.active for record in seen.records)
    return max(0, min(free, ending.limit(spec) - len(seen.records)))


def plan(seen: Look, suggestions: Sequence[Mapping[str, Value]] = ()) -> Plan:
    """Decide; `suggestions` are the parameters of new trials."""
    job, draft, records = seen.job, seen.draft, list(seen.records)
    if draft.run.finished:
        return _finished(seen)
    if seen.suspended:
        return _suspended(seen)
    stops = stopping.to_stop(job.spec, records)
    records = [_stopped(record, stops.get(record.number)) for record in records]
    end = ending.end(job.spec, records)
    if end is not None:
        return _end(seen, records, end)
    new = _new(job, records, () if seen.resumed else suggestions)
    records += new
    notices = [
        *status.ended(job, seen.before, records),
        *(Notice("Normal", Reason.TRIAL_STARTED, f"trial {job.trial(one.number)}: {_words(one)}") for one in new),
    ]
    draft.fields.setdefault("startTime", format_time(draft.now))
    status.tell(job, records, draft)
    told = draft.fields["counts"]
    message = f"{told['active']} trials run, {len(records) - told['active']} of {ending.limit(job.spec)} have ended"
    message += _in_the_way(seen)
    draft.condition("Running", "True", Reason.TRIALS_RUNNING, message).progressing(Reason.TRIALS_RUNNING, message)
    draft.without("Suspended")
    if seen.resumed:
        notices.append(Notice("Normal", Reason.RESUMED, "the search was resumed"))
    return Plan(
        status=draft.done(),
        # What was chosen, measured or stopped is written down before anything comes of it; a resumed search last, as
        # only its status tells whose suspension is to be lifted.
        persist_first=not seen.resumed and records != list(seen.before),
        deletes=_deletes(seen, records),
        patches=(*_suspends(seen, records), *(_resumes(seen, records) if seen.resumed else ())),
        writes=_writes(seen, records),
        notices=tuple(notices),
        requeue_after=0.0 if seen.resumed else None,
    )


def _stopped(record: Record, why: str | None) -> Record:
    return record if why is None else replace(record, state=TrialState.EARLY_STOPPED, message=why)


def _new(job: SearchJob, records: Sequence[Record], suggestions: Sequence[Mapping[str, Value]]) -> list[Record]:
    first = max((record.number for record in records), default=-1) + 1
    room = max(0, ending.limit(job.spec) - len(records))
    begin = TrialState.MEASURING if job.spec.constraints else TrialState.PENDING
    found = []
    for number, parameters in enumerate(suggestions[:room], first):
        record = Record(number, begin, dict(parameters))
        _, problems = trainingjob.spec_problems(job.trial(number), children.trial_spec(job, record))
        if problems:
            record = replace(record, state=TrialState.FAILED, message="; ".join(problems))
        found.append(record)
    return found


def _in_the_way(seen: Look) -> str:
    """Words on what keeps a pod from measuring."""
    waits = [pod.obstacle for pod in seen.seen.pods.values() if pod.obstacle is not None]
    return f"; pod {waits[0].pod}: {waits[0].reason}: {waits[0].message}" if waits else ""


def _words(record: Record) -> str:
    return ", ".join(f"{path} {value}" for path, value in record.parameters.items())


def _writes(seen: Look, records: Sequence[Record]) -> tuple[Write, ...]:
    """TrainingJobs of trials that wait for theirs, and the one pod that measures: two would disturb each other."""
    job, writes = seen.job, []
    for record in records:
        if record.state is TrialState.PENDING and record.number not in seen.seen.trials:
            writes.append(Write(TRAINING_JOBS, children.trial(job, record), news=True))
    first = next((record for record in records if record.state is TrialState.MEASURING), None)
    if first is not None and (first.number, first.attempt) not in seen.seen.pods:
        # Those of before are on their way out.
        going = [pod for pod in seen.seen.pods.values() if pod.may_run]
        if not going:
            writes.append(Write(CONFIGMAPS, children.config_map(job)))
            writes.append(Write(PODS, children.bench_pod(job, first, seen.platform)))
    return tuple(writes)


def _deletes(seen: Look, records: Sequence[Record]) -> tuple[Delete, ...]:
    """Pods that have said what they know, or measure what nobody asks for any more."""
    asked = {(record.number, record.attempt) for record in records if record.state is TrialState.MEASURING}
    return tuple(
        Delete(PODS, pod.name, pod.uid) for key, pod in seen.seen.pods.items() if key not in asked and not pod.deleting
    )


def _suspends(seen: Look, records: Sequence[Record], *, every: bool = False) -> tuple[Patch, ...]:
    """Patches that suspend trials which were stopped, or every one that trains."""
    states = {TrialState.EARLY_STOPPED, *((TrialState.TRAINING,) if every else ())}
    return _patches(seen, [record.number for record in records if record.state in states], suspend=True)


def _resumes(seen: Look, records: Sequence[Record]) -> tuple[Patch, ...]:
    return _patches(seen, [record.number for record in records if record.state is TrialState.TRAINING], suspend=False)


def _patches(seen: Look, numbers: Sequence[int], *, suspend: bool) -> tuple[Patch, ...]:
    found = []
    for number in numbers:
        trial = seen.seen.trials.get(number)
        ended = trial is not None and (trial.get("status") or {}).get("completionTime")
        if trial is not None and not ended and children.is_suspended(trial) is not suspend:
            body = children.suspension(suspend=suspend)
            found.append(Patch(TRAINING_JOBS, trial["metadata"]["name"], uid_of(trial), body))
    return tuple(found)


def _suspended(seen: Look) -> Plan:
    draft, records = seen.draft, seen.records
    status.tell(seen.job, records, draft)
    message = "suspended: no trial is started, and those that train save a checkpoint and wait"
    notices = status.ended(seen.job, seen.before, records)
    first = not conditions.is_true(draft.old.get("conditions") or [], "Suspended")
    if first:
        notices.append(Notice("Normal", Reason.SUSPENDED, message))
    draft.condition("Suspended", "True", Reason.SUSPENDED, message)
    draft.condition("Running", "False", Reason.SUSPENDED, message)
    draft.condition("Ready", "Unknown", Reason.SUSPENDED, message).without("Reconciling", "Stalled")
    # Nothing is measured in a search that stands still.
    pods = tuple(Delete(PODS, pod.name, pod.uid) for pod in seen.seen.pods.values() if not pod.deleting)
    # Written first: that the search was suspended says who has suspended its trials.
    return Plan(
        status=draft.done(),
        persist_first=first or list(records) != list(seen.before),
        deletes=pods,
        patches=_suspends(seen, records, every=True),
        notices=tuple(notices),
    )


def _end(seen: Look, records: Sequence[Record], end: ending.End) -> Plan:
    """End the search; trials that still run are stopped, for nobody waits for them."""
    job, draft = seen.job, seen.draft
    why = "the search has ended"
    records = [_stopped(record, why if record.active else None) for record in records]
    status.tell(job, records, draft)
    draft.fields["progress"] = {"percent": 100}
    best = choice.best(records, job.spec.objective)
    if end.succeeded and best is not None:
        draft.fields["artifact"] = status.artifact(job, best, seen.seen.trials.get(best.number))
        draft.succeed(end.message)
    else:
        draft.fail(end.reason, end.message)
    draft.without("Suspended")
    notice = Notice("Normal" if end.succeeded else "Warning", end.reason, end.message)
    return Plan(
        status=draft.done(),
        persist_first=True,
        deletes=_deletes(seen, records),
        patches=_suspends(seen, records),
        notices=(*status.ended(job, seen.before, records), notice),
    )


def _finished(seen: Look) -> Plan:
    left: float | None = seen.job.spec.run_policy.ttl_seconds_after_finished
    since = seen.draft.run.completion_time
    if left is not None and since is not None:
        left -= (seen.draft.now - since).total_seconds()
        if left <= 0:
            return Plan(delete_job=True)
    # What the end asked for, where the operator was killed before it was done.
    return Plan(
        status=seen.draft.done(),
        deletes=_deletes(seen, seen.records),
        patches=_suspends(seen, seen.records),
        requeue_after=left,
    )
