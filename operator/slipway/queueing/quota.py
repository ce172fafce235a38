"""Quotas of a namespace: what they leave for a gang, and what its LimitRanges put into pods. Pure; for backfill.py.

Quotas are enforced by the server alone. They are counted here so that a gang is not begun that the server would refuse
in the middle, and so that the first in the line is not overtaken for ever by smaller ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from slipway.queueing.amounts import shown
from slipway.queueing.resources import Amounts, amounts, pod_requests, whole
from slipway.runtime.client.resource import Object
from slipway.runtime.client.transform import pick

# Of one namespace, and of one quota: nobody needs more, and each costs a moment for each gang that waits.
MOST_QUOTAS, MOST_SCOPES = 16, 16
_PODS = frozenset({"pods", "count/pods"})
# Where a quota has these, the server takes no pod that does not say how much it wants.
_TO_BE_SAID = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})


@dataclass(frozen=True)
class PodCharge:
    """Amounts of one pod that quotas count, by resource in whole numbers.

    `unsaid`: by entry of a quota, the containers that say nothing of it, which the server asks each of them for.
    """

    requests: Amounts = field(default_factory=dict)
    limits: Amounts = field(default_factory=dict)
    priority_class: str = ""
    unsaid: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def best_effort(self) -> bool:
        """Tell whether the pod asks for neither CPU nor memory: quotas have a scope for such pods."""
        return not any(asked.get(name) for asked in (self.requests, self.limits) for name in ("cpu", "memory"))

    def of(self, entry: str) -> int | None:
        """Amount that an entry of a quota counts; None where it is not about pods, or the pod says nothing of it."""
        if entry in _PODS:
            return 1
        asked = self.limits if entry.startswith("limits.") else self.requests
        return asked.get(_resource(entry))


@dataclass(frozen=True)
class Shortage:
    """Shortage in a quota.

    `words`: as the server would refuse, for the whole gang. `never`: not even an empty namespace could take it.
    """

    words: str
    never: bool


@dataclass
class _Quota:
    name: str
    hard: Amounts
    used: dict[str, int]
    scopes: Sequence[Mapping[str, Any]]
    kept_for: str = ""


class Quotas:
    """The quotas of all namespaces while gangs are let in."""

    def __init__(self, objects: Iterable[Object] = ()) -> None:
        self._of: dict[str, list[_Quota]] = {}
        for quota in sorted(objects, key=lambda quota: str(quota["metadata"]["name"])):
            mine = self._of.setdefault(quota["metadata"]["namespace"], [])
            if len(mine) < MOST_QUOTAS:
                status, spec = quota["status"], quota["spec"]
                hard = status.get("hard") or spec.get("hard") or {}
                mine.append(_Quota(quota["metadata"]["name"], hard, dict(status.get("used") or {}), spec["scopes"]))

    def short(self, namespace: str, charge: PodCharge, count: int) -> Shortage | None:
        """Shortage in a quota that does not take so many of these pods; of several, one that never will goes first."""
        found = [self._short(quota, charge, count) for quota in self._about(namespace, charge)]
        return min((shortage for shortage in found if shortage), key=lambda shortage: not shortage.never, default=None)

    def take(self, namespace: str, charge: PodCharge, count: int) -> None:
        """Count so many of these pods, which are on their way, as used."""
        for quota in self._about(namespace, charge):
            for entry in quota.hard:
                quota.used[entry] = quota.used.get(entry, 0) + count * (charge.of(entry) or 0)

    def keep(self, namespace: str, charge: PodCharge, count: int, name: str) -> None:
        """Let nobody overtake the gang of this name: others have what is left once the pods of today have ended."""
        for quota in self._about(namespace, charge):
            if not quota.kept_for:
                quota.kept_for = name
                for entry in quota.hard:
                    quota.used[entry] = max(quota.used.get(entry, 0), count * (charge.of(entry) or 0))

    def _about(self, namespace: str, charge: PodCharge) -> Iterable[_Quota]:
        return (q for q in self._of.get(namespace, ()) if all(_in_scope(scope, charge) for scope in q.scopes))

    def _short(self, quota: _Quota, charge: PodCharge, count: int) -> Shortage | None:
        unsaid = sorted(
            entry
            for entry in quota.hard
            if entry in _TO_BE_SAID and (charge.of(entry) is None or charge.unsaid.get(entry))
        )
        if unsaid:
            silent = sorted({name for entry in unsaid for name in charge.unsaid.get(entry, ())})
            words = (
                f"quota {quota.name}: must specify {', '.join(unsaid)}{' for: ' if silent else ''}{', '.join(silent)}"
            )
            words += " in trainer.resourcesPerNode, or the resources of pod.sidecars and pod.initContainers"
            return Shortage(f"{words}, or have a LimitRange that gives a default", never=True)
        wanted = {entry: count * (charge.of(entry) or 0) for entry in quota.hard}
        lacking = sorted(e for e, n in wanted.items() if n and quota.used.get(e, 0) + n > quota.hard[e])
        if not lacking:
            return None
        never = any(wanted[entry] > quota.hard[entry] for entry in lacking)
        told = [
            ",".join(f"{entry}={_shown(entry, numbers.get(entry, 0))}" for entry in lacking)
            for numbers in (wanted, quota.used, quota.hard)
        ]
        words = f"exceeded quota: {quota.name}, requested: {told[0]}, used: {told[1]}, limited: {told[2]}"
        if never:
            return Shortage(f"{words}: all pods of the gang can never be had: raise the quota or ask for less", True)
        return Shortage(words + (f", with what is kept for {quota.kept_for}" if quota.kept_for else ""), False)


def _in_scope(scope: Mapping[str, Any], charge: PodCharge) -> bool:
    """Tell whether the quota is about such pods: ours have no activeDeadlineSeconds and no affinity to other pods."""
    name, values = scope.get("scopeName"), scope.get("values") or ()
    if name == "PriorityClass":
        match scope.get("operator"):
            case "In":
                return charge.priority_class in values
            case "NotIn":
                return charge.priority_class not in values
            case "DoesNotExist":
                return not charge.priority_class
            case _:
                return bool(charge.priority_class)
    return {"NotTerminating": True, "BestEffort": charge.best_effort, "NotBestEffort": not charge.best_effort}.get(
        str(name), False
    )


def _shown(entry: str, amount: int) -> str:
    return shown(_resource(entry), amount)


def _resource(entry: str) -> str:
    return entry.removeprefix("requests.").removeprefix("limits.")


def _numbers(entries: Mapping[str, Any]) -> dict[str, int]:
    if whole(entries):
        return dict(entries)
    return {entry: amount for entry, text in entries.items() for amount in amounts({_resource(entry): text}).values()}


def slim_quota(quota: Object) -> Object:
    """Quota reduced to its name, what it allows, what is used, and whose pods it is about."""
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    scopes = [{"scopeName": name} for name in spec.get("scopes") or () if isinstance(name, str)]
    scopes += [name for name in spec.get("scopes") or () if not isinstance(name, str)]
    scopes += [
        pick(entry, "scopeName", "operator", "values")
        for entry in (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    ]
    return {
        "metadata": pick(quota["metadata"], "name", "namespace", "uid", "resourceVersion"),
        "spec": {"hard": _bounded(spec.get("hard")), "scopes": list(islice(scopes, MOST_SCOPES))},
        "status": {key: _bounded(status.get(key)) for key in ("hard", "used")},
    }


def _bounded(entries: Mapping[str, Any] | None) -> dict[str, int]:
    return _numbers(dict(islice(sorted((entries or {}).items()), 64)))


def slim_limits(limits: Object) -> Object:
    """LimitRange reduced to what it puts into containers that do not say it themselves."""
    spec = limits.get("spec") or {}
    found = [
        {"type": "Container", **{key: _bounded(entry.get(key)) for key in ("default", "defaultRequest")}}
        for entry in islice(spec.get("limits") or (), 16)
        if entry.get("type") == "Container"
    ]
    kept = pick(limits["metadata"], "name", "namespace", "uid", "resourceVersion")
    return {"metadata": kept, "spec": {"limits": found}}


@dataclass(frozen=True)
class Defaults:
    """Defaults of LimitRanges for a container: limits and requests that it does not name."""

    limits: Amounts = field(default_factory=dict)
    requests: Amounts = field(default_factory=dict)

    def filled(self, resources: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Resources of one container with the defaults: as the server does, a limit of the user's is a request before
        a default is. What a container says itself does not keep a default from the one beside it.
        """
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        return {
            "limits": {**_quantities(self.limits), **limits},
            "requests": {**_quantities(self.requests), **limits, **requests},
        }


NO_DEFAULTS = Defaults()


def charge_of(spec: Mapping[str, Any], priority_class: str = "", defaults: Defaults = NO_DEFAULTS) -> PodCharge:
    """Charge of a pod; of its `spec` only names and resources of `containers` and `initContainers` are read."""
    filled = {
        key: [{**one, "resources": defaults.filled(one.get("resources") or {})} for one in spec.get(key) or ()]
        for key in ("containers", "initContainers")
    }
    limits = {
        key: [{**one, "resources": {"requests": one["resources"]["limits"]}} for one in all_]
        for key, all_ in filled.items()
    }
    unsaid: dict[str, list[str]] = {}
    for entry in sorted(_TO_BE_SAID):
        what = "limits" if entry.startswith("limits.") else "requests"
        for one in (*filled["containers"], *filled["initContainers"]):
            if _resource(entry) not in one["resources"][what]:
                unsaid.setdefault(entry, []).append(str(one.get("name", "")))
    return PodCharge(pod_requests({"spec": filled}), pod_requests({"spec": limits}), priority_class, unsaid)


def _quantities(amounts: Amounts) -> dict[str, str]:
    return {name: f"{amount}m" if name == "cpu" else str(amount) for name, amount in amounts.items()}


def defaults_of(objects: Iterable[Object]) -> dict[str, Defaults]:
    """Defaults by namespace.

    Of several LimitRanges that name one resource the first by name has its way, though the server may differ.
    """
    found: dict[str, Defaults] = {}
    for ranges in sorted(objects, key=lambda one: str(one["metadata"]["name"])):
        namespace = ranges["metadata"]["namespace"]
        for entry in ranges["spec"]["limits"]:
            before = found.get(namespace, Defaults())
            found[namespace] = Defaults(
                limits={**entry["default"], **before.limits}, requests={**entry["defaultRequest"], **before.requests}
            )
    return found
