"""Detection of hangs: a job that runs and reports no progress for too long hangs, as collectives do. Pure."""

from datetime import datetime

from slipway.reconcile.run_state import RunState


def seconds_left(
    deadline: int | None, run: RunState, reported: datetime | None, listening: datetime | None, now: datetime
) -> float | None:
    """Seconds until silence becomes a failure; zero or less means now, None: no deadline, or not running.

    `reported`: the newest report. `listening`: since when reports can have come in: while the operator was away nobody
    could report, and that is no silence of the job's.
    """
    if deadline is None or run.running_since is None:
        return None
    since = max(moment for moment in (run.running_since, reported, listening) if moment is not None)
    return deadline - (now - since).total_seconds()
