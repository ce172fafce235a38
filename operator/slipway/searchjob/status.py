"""Status of a search: its trials, counts, best and front. Pure; called by plan.py."""

from collections.abc import Sequence
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.search.status import TrialState
from slipway.reconcile.plan import Notice
from slipway.reconcile.status import StatusDraft
from slipway.searchjob import children
from slipway.searchjob.job import SearchJob
from slipway.searchjob.policy import choice, ending
from slipway.searchjob.record import Record, figures_wire, read, texts

SOFT_FIELDS = frozenset({"progress"})


def records_of(draft: StatusDraft) -> list[Record]:
    """Records that the status has."""
    return [read(told) for told in draft.fields.get("trials") or []]


def tell(job: SearchJob, records: Sequence[Record], draft: StatusDraft) -> None:
    """Write records, counts, best trial and front into the draft."""
    spec, fields = job.spec, draft.fields
    fields["trials"] = [record.wire() for record in records]
    fields["counts"] = counts(records)
    best = choice.best(records, spec.objective)
    if best is not None and best.value is not None:
        fields["best"] = {
            "number": best.number,
            "name": job.trial(best.number),
            "value": best.value,
            "parameters": texts(best.parameters),
            **({"figures": figures_wire(best.figures)} if best.figures else {}),
        }
    first = spec.constraints[0] if spec.constraints else None
    front = choice.front(records, spec.objective, first)
    if front:
        fields["pareto"] = [point._asdict() for point in front]
    done = sum(not record.active for record in records)
    fields["progress"] = {"percent": min(100, 100 * done // ending.limit(spec))}


def counts(records: Sequence[Record]) -> dict[str, int]:
    """Numbers of trials by what became of them."""

    def many(state: TrialState) -> int:
        return sum(record.state is state for record in records)

    return {
        "active": sum(record.active for record in records),
        "succeeded": many(TrialState.SUCCEEDED),
        "pruned": many(TrialState.PRUNED),
        "earlyStopped": many(TrialState.EARLY_STOPPED),
        "failed": many(TrialState.FAILED),
    }


def artifact(job: SearchJob, best: Record, trial: Any) -> dict[str, Any]:
    """Artifact of the best trial, by its TrainingJob where that is still there, else as it was recorded."""
    told = ((trial or {}).get("status") or {}).get("artifact") or {}
    if told.get("digest") == best.digest and told.get("uri"):
        return {key: told[key] for key in ("uri", "digest", "metrics") if told.get(key)}
    return {"uri": children.output_uri(job, best.number), "digest": best.digest}


def ended(job: SearchJob, before: Sequence[Record], after: Sequence[Record]) -> list[Notice]:
    """Notices of trials that have ended since."""
    active = {record.number for record in before if record.active}
    found = []
    for record in after:
        if record.active or (record.number not in active and any(one.number == record.number for one in before)):
            continue
        told = f"{job.spec.objective.metric} {record.value:g}" if record.value is not None else record.message
        words = f"trial {job.trial(record.number)}: {record.state}: {told}"
        failed = record.state is TrialState.FAILED
        found.append(Notice("Warning" if failed else "Normal", Reason.TRIAL_ENDED, words))
    return found
