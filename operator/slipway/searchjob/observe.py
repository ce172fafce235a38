"""Trials as the cluster shows them: what TrainingJobs and measuring pods say, put into the records. Pure."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.exit_codes import ExitCode
from slipway.api.search import paths
from slipway.api.search.space import Constraint
from slipway.api.search.status import MOST, TrialState
from slipway.reconcile.pods.observed import PodState
from slipway.runtime import conditions
from slipway.searchjob.job import SearchJob
from slipway.searchjob.record import Record

# Pods that measure one trial: a node that dies is no fault of the trial, and a program that always does is one.
MOST_ATTEMPTS = 5
TENTH = 10


@dataclass(frozen=True)
class Children:
    """Children of a search: TrainingJobs by number, and pods that measure by number and attempt."""

    trials: Mapping[int, Mapping[str, Any]]
    pods: Mapping[tuple[int, int], PodState]


def children(job: SearchJob, trials: Sequence[Mapping[str, Any]], pods: Sequence[PodState]) -> Children:
    """Sort children by their names; those of other names are nobody's trial."""
    named: dict[int, Mapping[str, Any]] = {}
    for trial in trials:
        found = re.fullmatch(rf"{re.escape(job.name)}-(0|[1-9]\d{{0,3}})", trial["metadata"]["name"])
        if found:
            named[int(found[1])] = trial
    measuring = {}
    for pod in pods:
        found = re.fullmatch(rf"{re.escape(job.name)}-bench(\d+)-0-a\d+", pod.name)
        if found:
            measuring[int(found[1]), pod.attempt] = pod
    return Children(named, measuring)


def update(job: SearchJob, records: Sequence[Record], seen: Children) -> list[Record]:
    """Records as of now; a trial that the status has lost is read back from its TrainingJob's own spec."""
    known = {record.number: record for record in records}
    for number, trial in seen.trials.items():
        if number not in known and (lost := _lost(job, number, trial)) is not None:
            known[number] = lost
    return [_updated(job, known[number], seen) for number in sorted(known)]


def _lost(job: SearchJob, number: int, trial: Mapping[str, Any]) -> Record | None:
    """Record of a trial that exists and is not in the status, as after a restore that left the status out."""
    if number >= job.spec.max_trials:
        return None
    values = {one.path: paths.get(trial.get("spec") or {}, one.path) for one in job.spec.parameters}
    given = {path: value for path, value in values.items() if value is not None}
    return Record(number, TrialState.TRAINING, given) if len(given) == len(values) else None


def _updated(job: SearchJob, record: Record, seen: Children) -> Record:
    trial = seen.trials.get(record.number)
    match record.state:
        case TrialState.MEASURING:
            pod = seen.pods.get((record.number, record.attempt))
            return record if pod is None else _measured(job, record, pod)
        case TrialState.PENDING:
            return record if trial is None else _trained(job, replace(record, state=TrialState.TRAINING), trial)
        case TrialState.TRAINING if trial is None:
            return replace(record, state=TrialState.FAILED, message="its TrainingJob was deleted")
        case TrialState.TRAINING | TrialState.EARLY_STOPPED if trial is not None:
            return _trained(job, record, trial)
        case _:
            return record


def _measured(job: SearchJob, record: Record, pod: PodState) -> Record:
    if pod.phase == "Succeeded":
        figures = _figures(job.spec.constraints, pod.termination_message)
        if isinstance(figures, str):
            return replace(record, state=TrialState.FAILED, message=figures)
        over = [f"{one.key} {figures[one.key]:g}" for one in job.spec.constraints if figures[one.key] > one.max]
        if over:
            words = f"above its limit: {', '.join(over)}"
            return replace(record, state=TrialState.PRUNED, figures=figures, message=words)
        return replace(record, state=TrialState.PENDING, figures=figures)
    failure = pod.failure
    if failure is None:
        return record
    final = failure.own and failure.exit_code == ExitCode.BAD_INPUT
    if final or record.attempt + 1 >= MOST_ATTEMPTS:
        last = failure.message.strip().splitlines()[-1:] or [str(failure.reason)]
        return replace(record, state=TrialState.FAILED, message=f"cannot be measured: {last[0]}")
    return replace(record, attempt=record.attempt + 1)


def _figures(constraints: Sequence[Constraint], words: str) -> dict[str, float] | str:
    """Figures that the pod measured, by constraint; or words on what is wrong with its last ones."""
    try:
        told = json.loads(words)["figures"]
        found = {one.key: float(told[one.key]) for one in constraints}
    except (ValueError, TypeError, KeyError):
        return "measured without figures: is measurement.image of this release?"
    odd = [key for key, figure in found.items() if not 0 <= figure <= MOST]
    return f"{odd[0]} cannot be measured for this model" if odd else found


def _trained(job: SearchJob, record: Record, trial: Mapping[str, Any]) -> Record:
    status = trial.get("status") or {}
    marks = status.get("conditions") or []
    if conditions.is_true(marks, "Succeeded"):
        return _succeeded(job, record, status.get("artifact") or {})
    if record.state is TrialState.EARLY_STOPPED:
        return record
    if (failed := _failed(marks)) is not None:
        return replace(record, state=TrialState.FAILED, message=failed)
    return _reported(job, record, status.get("progress") or {})


def _failed(marks: Sequence[Mapping[str, Any]]) -> str | None:
    """Reason in words why a trial has failed, or can never start; None while it may succeed."""
    for kind in ("Failed", "Stalled"):
        found = conditions.get(marks, kind)
        if found is not None and found["status"] == "True" and (kind == "Failed" or found["reason"] == _WRONG):
            return str(found.get("message") or found["reason"])
    return None


_WRONG = Reason.INVALID_SPEC.value


def _succeeded(job: SearchJob, record: Record, artifact: Mapping[str, Any]) -> Record:
    metric = job.spec.objective.metric
    figures = {one["name"]: one["value"] for one in artifact.get("metrics") or []}
    value = _number(figures.get(metric))
    if value is None:
        words = f"its artifact has no {metric}, only {', '.join(sorted(figures)) or 'no figure'}: correct objective"
        return replace(record, state=TrialState.FAILED, message=words)
    digest = str(artifact.get("digest") or "")
    return replace(record, state=TrialState.SUCCEEDED, value=value, digest=digest, message="")


def _reported(job: SearchJob, record: Record, progress: Mapping[str, Any]) -> Record:
    """The record with the figure of this tenth of the training, where it is the first of it."""
    figures = {one["name"]: one["value"] for one in progress.get("metrics") or []}
    value, percent = _number(figures.get(job.spec.objective.metric)), progress.get("percent") or 0
    tenth = min(90, percent - percent % TENTH)
    if value is None or tenth < TENTH or (record.reports and record.reports[-1][0] >= tenth):
        return record
    return replace(record, reports=(*record.reports, (tenth, value)))


def _number(text: str | None) -> float | None:
    """A finite figure, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) <= MOST else None
