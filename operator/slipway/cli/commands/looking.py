"""Commands that look: status, watch, list, logs, report. They change nothing.

What draws, and the models of all kinds, are imported within: `--help` and the shell's completion do without.
"""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway.cli import report as reports
from slipway.cli.cluster import Cluster, find, title
from slipway.cli.options import (
    Context,
    Format,
    Kubeconfig,
    ListFormat,
    ListOutput,
    Name,
    Namespace,
    Output,
    console,
    guarded,
    stop,
)
from slipway.cli.views.lineage import lineage
from slipway.cli.views.verdict import Exit, verdict

if TYPE_CHECKING:
    from slipway.cli.views.screen import View

LOG_LINES = 15
MOST_LOGS = 512  # pods followed at once: kubectl asks for a number, and a gang is no larger


def status(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Format = Output.TEXT,
) -> None:
    """One screen: conditions, place in the line, pods, last failure with its log, progress, lineage."""
    from slipway.cli.views.screen import render

    view = guarded(lambda: _view(Cluster(kubeconfig, context, namespace), name))
    if output is Output.TEXT:
        console().print(render(view))
    else:
        typer.echo(_written(view.wire(), output))
    raise typer.Exit(verdict(view.obj))


def watch(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    interval: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 2.0,
) -> None:
    """Show the status again and again until the resource is well or has failed; exits as `status` does."""
    from rich.live import Live

    from slipway.cli.views.screen import render

    where = Cluster(kubeconfig, context, namespace)
    view = guarded(lambda: _view(where, name))
    with Live(render(view), console=console(), auto_refresh=False) as live:
        while verdict(view.obj) is Exit.IN_PROGRESS:
            time.sleep(interval)
            view = guarded(lambda: _view(where, name))
            live.update(render(view), refresh=True)
    raise typer.Exit(verdict(view.obj))


def list_(
    kind: Annotated[str, typer.Argument(help="one kind only: tj, qj, infsvc")] = "",
    namespace: Namespace = "",
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="of every namespace")] = False,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: ListFormat = ListOutput.TEXT,
) -> None:
    """Resources of all kinds: state, progress, place in the line, age."""
    from slipway.cli.kinds import WORDS
    from slipway.cli.views import listing

    if kind and kind not in WORDS:
        stop(Exit.COMMAND, f"{kind} is no kind of Slipway's: {', '.join(sorted(WORDS))}")
    found = guarded(lambda: Cluster(kubeconfig, context, namespace).resources(everywhere=everywhere))
    asked = listing.ordered([obj for obj in found if not kind or obj["kind"] == WORDS[kind]])
    if output is ListOutput.NAME:
        typer.echo("".join(f"{title(obj)}\n" for obj in asked), nl=False)
    elif output is not ListOutput.TEXT:
        typer.echo(_written([listing.wire(obj) for obj in asked], output))
    elif asked:
        console().print(listing.table(asked, datetime.now(UTC), namespaces=everywhere))
    else:
        typer.echo("nothing found" if everywhere else "nothing found in this namespace; -A shows all", err=True)


def logs(  # noqa: PLR0913, PLR0917 (a command's options)
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    pod: Annotated[str, typer.Option(help="a pod's name; the newest attempt's first pod when unset")] = "",
    node: Annotated[int | None, typer.Option(min=0, help="index of a node of the newest attempt")] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="a process, counted over all nodes: its node's log")] = None,
    every: Annotated[bool, typer.Option("--all", help="all pods of the newest attempt, with their names")] = False,
    tail: Annotated[int, typer.Option(help="the last lines of each; all when -1")] = -1,
) -> None:
    """The log of a resource's newest pod, of one node, of one rank's node or of all; kubectl's exit code."""
    from slipway.cli.ranks import chosen

    if sum([bool(pod), node is not None, rank is not None, every]) > 1:
        stop(Exit.COMMAND, "--pod, --node, --rank and --all exclude each other")
    where = Cluster(kubeconfig, context, namespace)

    def pods() -> list[Any]:
        obj = find(where.resources(), name)
        return chosen(obj, where.pods(obj), pod=pod, node=node, rank=rank, every=every)

    names = [found["metadata"]["name"] for found in guarded(pods)]
    options = [*(["--follow"] if follow else []), f"--tail={tail}"]
    if not every:
        raise typer.Exit(subprocess.run([*where.base, "logs", names[0], *options], check=False).returncode)
    raise typer.Exit(_all_logs(where, names, options))


def report(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    to: Annotated[Path, typer.Option(help="where to write the page")] = Path("report.html"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Fetch the report of a QuantizationJob, or draw a SearchJob's trials, and open it."""
    where = Cluster(kubeconfig, context, namespace)
    page = guarded(lambda: reports.fetch(where, find(where.resources(), name)))
    to.write_bytes(page)
    typer.echo(f"wrote {to}")
    if show and sys.stdout.isatty():
        typer.launch(str(to))


def _all_logs(where: Cluster, names: list[str], options: list[str]) -> int:
    """One kubectl a pod, side by side; the worst exit code. kubectl's own selector would take older attempts, too."""
    running = [
        subprocess.Popen([*where.base, "logs", name, "--prefix", *options], text=True) for name in names[:MOST_LOGS]
    ]
    try:
        return max(one.wait() for one in running)
    finally:
        for one in running:
            one.terminate()


def _view(where: Cluster, name: str) -> "View":
    from slipway.cli.views.screen import View

    resources = where.resources()
    obj = find(resources, name)
    failed = ((obj.get("status") or {}).get("lastFailure") or {}).get("pod")
    log = where.log_tail(failed, LOG_LINES) if failed else ""
    return View(obj, where.pods(obj), lineage(obj, resources), datetime.now(UTC), log)


def _written(content: Any, output: Output | ListOutput) -> str:
    if output.value == "yaml":
        import yaml

        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip()
    return json.dumps(content, indent=2)
