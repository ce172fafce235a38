"""Resources of all kinds in one table: state, progress, place in the line, age. Pure; `slipway list` prints it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from slipway.cli.cluster import title
from slipway.cli.views.ages import age
from slipway.cli.views.screen import COLOURS
from slipway.cli.views.verdict import headline, verdict

Object = Mapping[str, Any]


def table(objects: Sequence[Object], now: datetime, *, namespaces: bool) -> Table:
    """One row a resource, by namespace, kind and name. `namespaces`: say whose each is."""
    columns = (["NAMESPACE"] if namespaces else []) + ["NAME", "STATE", "PROGRESS", "AGE", "SINCE"]
    made = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    for obj in ordered(objects):
        metadata = obj["metadata"]
        state = Text(headline(obj).split(":")[0], style=COLOURS[verdict(obj)])
        times = [age(time, now) for time in (metadata.get("creationTimestamp"), _since(obj))]
        row: list[str | Text] = [title(obj), state, progress(obj), *times]
        made.add_row(*([metadata.get("namespace", "")] if namespaces else []), *row)
    return made


def wire(obj: Object) -> dict[str, Any]:
    """The same as JSON."""
    metadata = obj["metadata"]
    return {
        "kind": obj["kind"],
        "name": metadata["name"],
        "namespace": metadata.get("namespace"),
        "verdict": verdict(obj).name,
        "state": headline(obj),
        "progress": progress(obj),
        "creationTimestamp": metadata.get("creationTimestamp"),
    }


def ordered(objects: Sequence[Object]) -> list[Object]:
    """Sort by namespace, kind and name."""
    return sorted(objects, key=lambda obj: (obj["metadata"].get("namespace", ""), obj["kind"], obj["metadata"]["name"]))


def progress(obj: Object) -> str:
    """Percent of a job that runs, place of one that waits, ready replicas of a service; empty for others."""
    status = obj.get("status") or {}
    if queue := status.get("queue"):
        return f"{queue['position']} of {queue['length']} in line"
    percent = (status.get("progress") or {}).get("percent")
    if percent is not None:
        return f"{percent} %"
    if obj["kind"] == "InferenceService":
        return f"{status.get('readyReplicas') or 0}/{(obj.get('spec') or {}).get('replicas', 1)}"
    return ""


def _since(obj: Object) -> str | None:
    marks = (obj.get("status") or {}).get("conditions") or []
    return next((mark.get("lastTransitionTime") for mark in marks if mark["type"] == "Ready"), None)
