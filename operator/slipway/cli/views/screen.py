"""One resource on one screen, and the same as JSON. Pure: what the cluster said goes in, what rich prints comes out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from slipway.cli.views.ages import age, duration
from slipway.cli.views.lineage import Link
from slipway.cli.views.verdict import Exit, headline, verdict
from slipway.runtime.client.transform import OWN_CONTAINERS

COLOURS = {Exit.READY: "green", Exit.FAILED: "red", Exit.IN_PROGRESS: "yellow"}
BAR_WIDTH = 30
MOST_PODS = 8  # a gang of 500 leaves no room for what is wrong with it


@dataclass(frozen=True)
class View:
    """All that is shown of one resource at the time `now`; `log` is the end of the failed pod's log."""

    obj: Mapping[str, Any]
    pods: Sequence[Mapping[str, Any]]
    chain: Link
    now: datetime
    log: str = ""

    @property
    def status(self) -> Mapping[str, Any]:
        """Status of the resource; empty before the operator has written one."""
        found: Mapping[str, Any] = self.obj.get("status") or {}
        return found

    def wire(self) -> dict[str, Any]:
        """Content of `--output json` and `yaml`: identity, verdict, status, pods, lineage and log."""
        return {
            "kind": self.obj["kind"],
            "name": self.obj["metadata"]["name"],
            "namespace": self.obj["metadata"].get("namespace"),
            "verdict": verdict(self.obj).name,
            "status": self.status,
            "pods": [_pod(pod) for pod in self.pods],
            "lineage": self.chain.wire(),
            "log": self.log,
        }


def render(view: View) -> RenderableType:
    """The whole screen; parts that say nothing are left out."""
    parts = [part(view) for part in (_head, _queue, _progress, _conditions, _pods, _failure, _artifact)]
    return Group(*(part for part in parts if part is not None), _chain(view))


def _head(view: View) -> RenderableType:
    metadata, colour = view.obj["metadata"], COLOURS[verdict(view.obj)]
    title = f"{view.obj['kind']} {metadata.get('namespace', '')}/{metadata['name']}"
    return Panel(Text(headline(view.obj), style=colour), title=title, title_align="left", border_style=colour)


def _progress(view: View) -> RenderableType | None:
    progress = view.status.get("progress") or {}
    if progress.get("percent") is None:
        return None
    words = [f"{progress['percent']} %"]
    if progress.get("totalSteps"):
        words.append(f"step {progress.get('step', 0)} of {progress['totalSteps']}")
    if progress.get("estimatedRemainingSeconds"):
        words.append(f"{duration(progress['estimatedRemainingSeconds'])} left")
    words += [f"{metric['name']} {metric['value']}" for metric in progress.get("metrics") or []]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=100, completed=progress["percent"], width=BAR_WIDTH), ", ".join(words))
    return grid


def _queue(view: View) -> RenderableType | None:
    queue = view.status.get("queue")
    if not queue:
        return None
    since = age(view.status.get("queuedTime"), view.now)
    place = f"in line {queue['position']} of {queue['length']}{f', for {since}' if since else ''}"
    told = queue.get("missing", "")
    return Text(place if told in headline(view.obj) else f"{place}: {told}", style="yellow")


def _conditions(view: View) -> RenderableType | None:
    """Conditions: a line each that is true or not known, one for all that are false. Each message is shown once."""
    marks = view.status.get("conditions") or []
    if not marks:
        return None
    shown = [headline(view.obj).partition(": ")[2]]
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("CONDITION", "STATUS", "REASON", "AGE", "MESSAGE"):
        table.add_column(column, overflow="fold", no_wrap=column in {"CONDITION", "STATUS", "AGE"})
    for mark in (mark for mark in marks if mark["status"] != "False" or mark["type"] == "Ready"):
        message = mark.get("message", "")
        told = "" if message in shown else message
        shown.append(message)
        since = age(mark.get("lastTransitionTime"), view.now)
        table.add_row(mark["type"], mark["status"], mark.get("reason", ""), since, told)
    false = [mark["type"] for mark in marks if mark["status"] == "False" and mark["type"] != "Ready"]
    return Group(table, Text(f"false: {', '.join(false)}", style="dim")) if false else table


def _pods(view: View) -> RenderableType | None:
    if not view.pods:
        return None
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("POD", "PHASE", "NODE", "AGE", "EXIT CODE"):
        table.add_column(column, overflow="fold")
    for pod in view.pods[:MOST_PODS]:
        told, since = _pod(pod), age(pod["metadata"].get("creationTimestamp"), view.now)
        code = "" if told["exitCode"] is None else str(told["exitCode"])
        table.add_row(told["name"], told["phase"], told["node"], since, code)
    more = len(view.pods) - MOST_PODS
    return Group(table, Text(f"and {more} more: --output json shows all", style="dim")) if more > 0 else table


def _pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    status = pod.get("status") or {}
    # What others put into the pod says nothing of how the work ended.
    known = status.get("containerStatuses") or []
    own = [c for c in known if c.get("name") in OWN_CONTAINERS] or known
    ends = [(c.get("state") or {}).get("terminated") or {} for c in own]
    going = bool(pod["metadata"].get("deletionTimestamp"))
    return {
        "name": pod["metadata"]["name"],
        "phase": "Terminating" if going else status.get("phase", "Pending"),
        "node": (pod.get("spec") or {}).get("nodeName", ""),
        "exitCode": next((end["exitCode"] for end in ends if "exitCode" in end), None),
    }


def _failure(view: View) -> RenderableType | None:
    failure = view.status.get("lastFailure") or (view.status.get("modelStatus") or {}).get("lastFailureInfo")
    if not failure:
        return None
    words = [failure.get("reason", "")]
    words += [f"exit code {failure['exitCode']}"] if "exitCode" in failure else []
    words += [failure["signal"]] if failure.get("signal") else []
    where = " ".join(part for part in (failure.get("pod", ""), failure.get("node", "")) if part)
    text = Text(f"{', '.join(words)} at {failure.get('time', '?')}\n")
    text.append(view.log or failure.get("message", ""), style="dim")
    return Panel(text, title=f"last failure: {where}", title_align="left", border_style="red")


def _artifact(view: View) -> RenderableType | None:
    artifact = view.status.get("artifact")
    if not artifact:
        return None
    figures = ", ".join(f"{metric['name']} {metric['value']}" for metric in artifact.get("metrics") or [])
    grid = Table.grid(padding=(0, 1))
    grid.add_column()
    grid.add_column(overflow="fold")
    grid.add_row("artifact", artifact["uri"])
    grid.add_row("digest", artifact["digest"])
    if figures:
        grid.add_row("figures", figures)
    return grid


def _chain(view: View) -> RenderableType:
    tree = Tree(view.chain.title, guide_style="dim")
    _grow(tree, view.chain, view.obj)
    return tree


def _grow(tree: Tree, link: Link, focus: Mapping[str, Any]) -> None:
    for child in link.made:
        words = Text(child.title, style="bold" if child.obj is focus else "")
        if child.obj is not None:
            words.append(f"  {headline(child.obj).split(':')[0]}", style=COLOURS[verdict(child.obj)])
        _grow(tree.add(words), child, focus)
