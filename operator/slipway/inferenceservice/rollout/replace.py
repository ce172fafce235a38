"""A rollout at once: the newest revision comes up beside the others, which go when all its replicas serve. Pure."""

from slipway.inferenceservice import status
from slipway.inferenceservice.observed import Revision
from slipway.inferenceservice.state import RolloutPlan, ServiceState


def replace(state: ServiceState) -> RolloutPlan:
    """Plan of a rollout at once; also how the first revision comes, and how a promoted canary takes the rest."""
    wanted, current, older = state.size.replicas, state.current, state.older
    if current is not None and current.serves(wanted):
        return RolloutPlan({state.newest: wanted}, older, status.serving(state, current))
    trouble = state.trouble
    keep = state.stable or _serving(older)
    replicas = {state.newest: wanted}
    if keep is not None:
        # It may be this one that serves for long: it follows the scale as well.
        replicas[keep.revision] = wanted
    # A revision that never served is nothing to wait for.
    useless = [revision for revision in older if revision is not keep and not revision.ready]
    if current is not None and current.ready and status.is_rolled_out(state):
        return RolloutPlan(replicas, useless, status.scaling(state, current, trouble))
    held = state.size.may_sleep and state.observed.activator_state.ready and trouble is None and not state.hopeless
    if current is not None and held and status.is_rolled_out(state):
        return RolloutPlan(replicas, useless, status.waking(state, current))
    return RolloutPlan(
        replicas, useless, status.rolling_out(state, current, trouble, keep if keep and keep.ready else None)
    )


def _serving(revisions: list[Revision]) -> Revision | None:
    return next((revision for revision in reversed(revisions) if revision.ready), None)
