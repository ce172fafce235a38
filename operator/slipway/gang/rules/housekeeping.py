"""Housekeeping for the rules of the life cycle: clean up behind earlier attempts, mind the deadlines. Pure."""

from slipway.gang.policy import deadlines
from slipway.gang.state import Scene
from slipway.reconcile.plan import soonest
from slipway.reconcile.pods import cleanup


def earlier_attempts(scene: Scene) -> cleanup.Cleaning:
    """Delete pods that are not the gang's any more."""
    run = scene.draft.run
    old = [pod for pod in scene.pods if pod.attempt < run.attempt] + scene.dropped
    return cleanup.replaced(old, run.failed_pod, scene.grace, scene.now)


def next_deadline(scene: Scene) -> float | None:
    """Seconds until the nearest of the job's limits is reached."""
    policy, run = scene.gang.run_policy, scene.draft.run
    return soonest(
        deadlines.active_seconds_left(policy, run, scene.now),
        deadlines.startup_seconds_left(policy, run, scene.now),
        scene.hang_seconds_left,
        scene.stranded_seconds_left,
    )
