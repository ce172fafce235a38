"""A service's PodDisruptionBudget in one of its two forms, or none of it while a drain shall pass. Pure.

Of several replicas evictions take one at a time. The only one is not evicted before another serves, where the operator
sees drains and starts that other one (see rollout/evacuation.py). Where it may not read nodes nobody would start it, so
there the only one goes at once.
"""

from typing import Any

from slipway.api.common.types import GROUP
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.policy.evacuation import Evacuation, Phase
from slipway.inferenceservice.state import ServiceState
from slipway.reconcile.plan import Delete, Patch, Write
from slipway.runtime.client.resource import uid_of

# On a budget that keeps one pod; the cache holds annotations of budgets and no specs.
KEEPS_ONE = f"{GROUP}/keeps-one"


def keeps_one(state: ServiceState) -> bool:
    """Tell whether the service's budget keeps its only pod.

    One that grows has the other form only once its Deployment does: between them the only pod could go.
    """
    wanted = sum(revision.wanted for revision in state.revisions if not revision.deleting)
    return state.observed.leaving is not None and (state.size.replicas <= 1 or wanted <= 1)


def writes(state: ServiceState, evacuation: Evacuation) -> list[Write]:
    """The budget, where there is none and shall be one."""
    budgets, name = state.platform.budgets, state.service.name
    if budgets is None or evacuation.phase is Phase.OVERDUE or name in state.observed.children.get(budgets, {}):
        return []
    made = manifests.budget(state.service, budgets)
    if keeps_one(state):
        made["metadata"]["annotations"] = {KEEPS_ONE: "true"}
        made["spec"] = {"minAvailable": 1, "selector": made["spec"]["selector"]}
    return [Write(budgets, made)]


def patches(state: ServiceState, evacuation: Evacuation) -> list[Patch]:
    """The change from one form to the other."""
    budgets, name = state.platform.budgets, state.service.name
    known = state.observed.children.get(budgets, {}).get(name) if budgets is not None else None
    if budgets is None or known is None or evacuation.phase is Phase.OVERDUE:
        return []
    keeps = keeps_one(state)
    if keeps == (KEEPS_ONE in (known["metadata"].get("annotations") or {})):
        return []
    body: dict[str, Any] = {
        "metadata": {"annotations": {KEEPS_ONE: "true" if keeps else None}},
        "spec": {"minAvailable": 1 if keeps else None, "maxUnavailable": None if keeps else 1},
    }
    return [Patch(budgets, name, uid_of(known), body)]


def deletes(state: ServiceState, evacuation: Evacuation) -> list[Delete]:
    """The budget, while a drain shall pass: no form of it lets a pod go that runs and is not ready."""
    budgets, name = state.platform.budgets, state.service.name
    known = state.observed.children.get(budgets, {}).get(name) if budgets is not None else None
    if budgets is None or known is None or evacuation.phase is not Phase.OVERDUE:
        return []
    return [Delete(budgets, name, uid_of(known))]
