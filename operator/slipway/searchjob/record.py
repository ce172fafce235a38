"""Record of a trial, as the search's status keeps it: written before anything is made of the trial. Pure."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slipway.api.search.paths import Value
from slipway.api.search.space import Constraint
from slipway.api.search.status import ACTIVE, TrialState
from slipway.runtime.conditions import shorten

WORDS = 256


@dataclass(frozen=True)
class Record:
    """One trial. `figures`: what was measured, by constraint; `reports`: (percent, objective), the earliest first."""

    number: int
    state: TrialState
    parameters: Mapping[str, Value]
    value: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    reports: tuple[tuple[int, float], ...] = ()
    attempt: int = 0
    digest: str = ""
    message: str = ""

    @property
    def active(self) -> bool:
        """Tell whether it takes a place of parallelTrials."""
        return self.state in ACTIVE

    def wire(self) -> dict[str, Any]:
        """JSON for the status, without empty fields."""
        found: dict[str, Any] = {
            "number": self.number,
            "state": self.state.value,
            "parameters": texts(self.parameters),
            "value": self.value,
            "figures": figures_wire(self.figures),
            "reports": [{"percent": percent, "value": value} for percent, value in self.reports],
            "attempt": self.attempt,
            "digest": self.digest,
            "message": shorten(self.message, WORDS),
        }
        return {key: value for key, value in found.items() if value not in (None, "", [], {})}


def read(told: Mapping[str, Any]) -> Record:
    """Read a trial of a status."""
    return Record(
        number=told["number"],
        state=TrialState(told["state"]),
        parameters={path: json.loads(text) for path, text in (told.get("parameters") or {}).items()},
        value=told.get("value"),
        figures={one["name"]: float(one["value"]) for one in told.get("figures") or []},
        reports=tuple((one["percent"], one["value"]) for one in told.get("reports") or []),
        attempt=told.get("attempt") or 0,
        digest=told.get("digest") or "",
        message=told.get("message") or "",
    )


def texts(parameters: Mapping[str, Value]) -> dict[str, str]:
    """Parameters as JSON texts by path."""
    return {path: json.dumps(value) for path, value in parameters.items()}


def figures_wire(figures: Mapping[str, float]) -> list[dict[str, str]]:
    """Figures as a status lists them."""
    return [{"name": name, "value": repr(value)} for name, value in figures.items()]


def excess(record: Record, constraint: Constraint) -> float | None:
    """Share of a limit by which a figure is above it; 0 or less is within. None where it was not measured."""
    figure = record.figures.get(constraint.key)
    return None if figure is None or not math.isfinite(figure) else figure / constraint.max - 1
