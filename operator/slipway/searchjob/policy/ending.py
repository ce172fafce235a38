"""End of a search: when there is nothing more to try, enough has failed, or the target is reached. Pure."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from slipway.api.common.types import Reason
from slipway.api.search.searchjob import SearchJobSpec
from slipway.api.search.status import TrialState
from slipway.searchjob.policy import choice, grid
from slipway.searchjob.record import Record, excess

# So many trials that fail alike, with none that succeeds, fail for what they have in common.
ALIKE = 3


class End(NamedTuple):
    """End of a search, in words."""

    succeeded: bool
    reason: Reason
    message: str


def limit(spec: SearchJobSpec) -> int:
    """Number of trials that the search may have: no more than its space has points."""
    points = grid.size(spec.parameters)
    return spec.max_trials if points is None else min(spec.max_trials, points)


def end(spec: SearchJobSpec, records: Sequence[Record]) -> End | None:
    """The end, or None while there is something to do."""
    best = choice.best(records, spec.objective)
    failed = [record for record in records if record.state is TrialState.FAILED]
    if best is not None and choice.reached(best, spec.objective):
        return End(True, Reason.SUCCEEDED, f"{_told(spec, best)}, which is the target")
    if alike := _alike(records, failed):
        return End(False, Reason.TRIALS_FAILED, f"the first {len(failed)} trials failed in the same way: {alike}")
    if len(failed) > spec.max_failed_trials:
        many = f"{len(failed)} trials failed, more than maxFailedTrials, {spec.max_failed_trials}"
        return End(False, Reason.TRIALS_FAILED, f"{many}; the last: {failed[-1].message}")
    if len(records) < limit(spec) or any(record.active for record in records):
        return None
    if best is not None:
        return End(True, Reason.SUCCEEDED, f"{_told(spec, best)}, the best of {len(records)} trials")
    return End(False, Reason.NO_TRIAL, f"none of {len(records)} trials succeeded: {_why(spec, records, failed)}")


def _told(spec: SearchJobSpec, best: Record) -> str:
    return f"trial {best.number} has {spec.objective.metric} {best.value:g}"


def _alike(records: Sequence[Record], failed: Sequence[Record]) -> str:
    """Message of trials that all fail in the same way while none succeeds; else nothing."""
    done = [record for record in records if record.state in {TrialState.SUCCEEDED, TrialState.EARLY_STOPPED}]
    if done or len(failed) < ALIKE:
        return ""
    words = {_without_numbers(record.message) for record in failed}
    return failed[0].message if len(words) == 1 else ""


def _without_numbers(text: str) -> str:
    """The text with one mark for each number and digest: those differ from trial to trial."""
    return re.sub(r"[0-9a-f.]+", lambda found: "#" if any(map(str.isdigit, found[0])) else found[0], text)


def _why(spec: SearchJobSpec, records: Sequence[Record], failed: Sequence[Record]) -> str:
    words = []
    for constraint in spec.constraints:
        over = [record for record in records if (excess(record, constraint) or 0) > 0]
        if over:
            least = min(record.figures[constraint.key] for record in over)
            words.append(
                f"{len(over)} have more {constraint.metric} on {constraint.engine} than {constraint.max:g}, the least "
                f"{least:g}: raise the limit, or make the space smaller"
            )
    stopped = sum(record.state is TrialState.EARLY_STOPPED for record in records)
    words += [f"{stopped} were stopped early"] if stopped else []
    words += [f"{len(failed)} failed, the last: {failed[-1].message}"] if failed else []
    return "; ".join(words)
