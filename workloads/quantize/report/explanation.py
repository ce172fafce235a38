"""Explanation of a climb: why each rung was taken, passed over, refused, skipped or not needed, with its numbers. Pure.

Read off the rows that a report has, so the page, `--explain` and a finished job's report.json tell the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.api.quantization.ladder import Goal, Rung

Row = Mapping[str, Any]

CHOSEN, PASSES, REFUSED, SKIPPED, NOT_NEEDED, DUE = (
    "published",
    "passes",
    "refused",
    "skipped",
    "not needed",
    "not tried yet",
)
ASKED = {
    Goal.BALANCED: "times faster multiplied by times smaller",
    Goal.LATENCY: "times faster, then size",
    Goal.SIZE: "size, then times faster",
    Goal.ACCURACY: "accuracy, then noise",
}


@dataclass(frozen=True)
class Reason:
    """One rung's fate, and why; `told`: a line for each of its candidates."""

    rung: str
    verdict: str
    why: str
    told: tuple[str, ...] = ()

    def wire(self) -> dict[str, Any]:
        """JSON object of the reason."""
        return {"rung": self.rung, "verdict": self.verdict, "why": self.why, "candidates": list(self.told)}


def reasons(
    rungs: Sequence[Row], candidates: Sequence[Row], selected: str | None, goal: Goal | None, *, over: bool
) -> list[Reason]:
    """Reasons for all rungs.

    `rungs` in the order of climbing, `candidates` with the float model first; `over`: the ladder is at its end.
    """
    rows = {str(row["name"]): row for row in candidates}
    return [_reason(rung, rows, selected, goal, over=over) for rung in rungs]


def _reason(rung: Row, rows: Mapping[str, Row], selected: str | None, goal: Goal | None, *, over: bool) -> Reason:
    name, own = str(rung["rung"]), [rows[each] for each in rung["candidates"]]
    told = tuple(candidate_words(row, rows["float"]) for row in own)
    if rung.get("due"):
        return Reason(name, *((NOT_NEEDED, _earlier(rows, selected)) if over else (DUE, "its turn comes")))
    if rung["skipped"]:
        return Reason(name, SKIPPED, str(rung["skipped"]))
    passing = [row for row in own if row.get("passed")]
    chosen = next((row for row in own if row["name"] == selected and row.get("passed")), None)
    if chosen is not None:
        return Reason(name, CHOSEN if over else PASSES, _chosen(chosen, rows, goal), told)
    if passing:
        return Reason(name, PASSES, _passed_over(passing, rows, selected, goal), told)
    if not own:
        return Reason(name, SKIPPED, "it had nothing to build")
    nearest = max(own, key=lambda row: (row.get("accuracy") is not None, row.get("accuracy") or 0.0))
    return Reason(name, REFUSED, f"none passes; nearest is {nearest['name']}: {nearest.get('message', '')}", told)


def _earlier(rows: Mapping[str, Row], selected: str | None) -> str:
    passed = [name for name, row in rows.items() if row.get("passed")]
    by = selected if selected in passed else passed[0] if passed else ""
    return f"{by} passes, of a rung before it" if by else "the ladder ended before it"


def _chosen(row: Row, rows: Mapping[str, Row], goal: Goal | None) -> str:
    others = [other for other in rows.values() if other.get("passed") and other["name"] != row["name"]]
    if not others:
        return f"{row['name']} is the only candidate that passes"
    if goal is None or row["rung"] not in set(Rung):
        return f"{row['name']} is the best of the first rung that passes"
    near = max(others, key=lambda other: worth(other, rows["float"]))
    return (
        f"{row['name']} is chosen of {len(others) + 1} that pass, by {ASKED[goal]}: {_worths(row, rows)}; "
        f"{near['name']}: {_worths(near, rows)}; among nearly equal ones the least noise decides"
    )


def _passed_over(passing: Sequence[Row], rows: Mapping[str, Row], selected: str | None, goal: Goal | None) -> str:
    best = max(passing, key=lambda row: worth(row, rows["float"]))
    if selected is None or selected not in rows or goal is None:
        return f"{best['name']} passes"
    return f"{best['name']} passes: {_worths(best, rows)}; {selected} was chosen: {_worths(rows[selected], rows)}"


def worth(row: Row, reference: Row) -> float:
    """Times smaller multiplied by times as fast, where it was measured."""
    return smaller(row, reference) * float(row.get("speedup") or 1.0)


def smaller(row: Row, reference: Row) -> float:
    """Ratio of the reference's bytes to the candidate's."""
    return float((reference.get("sizeBytes") or 1) / max(1, row.get("sizeBytes") or 1))


def _worths(row: Row, rows: Mapping[str, Row]) -> str:
    noise = "equal outputs" if row.get("sqnrDb") is None else f"{row['sqnrDb']:.1f} dB"
    return f"{_gain(row, rows['float'])}, {noise}"


def _gain(row: Row, reference: Row) -> str:
    fast = "" if row.get("speedup") is None else f" and {row['speedup']:.2f} times as fast"
    return f"{smaller(row, reference):.2f} times smaller{fast}"


def candidate_words(row: Row, reference: Row) -> str:
    """A candidate's figures and verdict in one line."""
    mark = "passes" if row.get("passed") else "fails"
    if row.get("accuracy") is None:
        return f"{row['name']} {mark}: {row.get('message', '')}"
    noise = "equal outputs" if row.get("sqnrDb") is None else f"{row['sqnrDb']:.1f} dB"
    kept = f", {row['floatNodes']} nodes in float" if row.get("floatNodes") else ""
    front = ", on the Pareto front" if row.get("pareto") else ""
    figures = f"{row['accuracy'] * 100:.2f} %, {noise}, {_gain(row, reference)}{kept}{front}"
    return f"{row['name']} {mark}: {figures}; {row.get('message', '')}"


def text(found: Sequence[Reason]) -> str:
    """Lines of text for a terminal."""
    lines = []
    for reason in found:
        lines.append(f"{reason.rung}: {reason.verdict}: {reason.why}")
        lines += [f"  {line}" for line in reason.told]
    return "\n".join(lines)
