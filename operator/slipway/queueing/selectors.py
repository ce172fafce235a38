"""Taints, tolerations and node selector terms, as the scheduler reads them. Pure; for cluster_capacity.py."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether one of the tolerations is for the taint."""
    return any(
        toleration.get("effect") in (None, "", taint.get("effect"))
        and toleration.get("key") in (None, "", taint.get("key"))
        and (toleration.get("operator") == "Exists" or (toleration.get("value") or "") == (taint.get("value") or ""))
        for toleration in tolerations
    )


def term_holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a node with these labels meets all requirements of a term."""
    return all(_holds(requirement, labels) for requirement in term.get("matchExpressions") or ())


def _holds(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(requirement["key"]), requirement.get("values") or []
    return _OPERATORS[requirement["operator"]](value, values)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.lstrip("-").isdigit() else None


def _above(value: str | None, values: Sequence[str]) -> bool:
    number = _number(value)
    return number is not None and number > int(values[0])


def _below(value: str | None, values: Sequence[str]) -> bool:
    number = _number(value)
    return number is not None and number < int(values[0])


_OPERATORS: Mapping[str, Callable[[str | None, Sequence[str]], bool]] = {
    "In": lambda value, values: value in values,
    "NotIn": lambda value, values: value not in values,
    "Exists": lambda value, values: value is not None,
    "DoesNotExist": lambda value, values: value is None,
    "Gt": _above,
    "Lt": _below,
}
