"""Commands that wait for a resource and that stop or continue a job."""

import time
from typing import Annotated, Any

import typer

from slipway.cli import suspension, waiting
from slipway.cli.cluster import Cluster, NotThereError, find, title
from slipway.cli.options import Context, Kubeconfig, Name, Namespace, guarded, stop
from slipway.cli.views.verdict import Exit, headline


def wait(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    wanted: Annotated[str, typer.Option("--for", help="a condition that is to be True, or Deleted")] = waiting.READY,
    timeout: Annotated[float, typer.Option(min=0, help="seconds; 0 looks once")] = 3600.0,
    interval: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 2.0,
) -> None:
    """Wait until a resource is ready, or has another condition; ends at once when it has failed.

    Exits with 0 when it is so, 1 when it cannot become so any more, 3 when the time is over, 4 when it is gone.
    """
    where = Cluster(kubeconfig, context, namespace)
    end = time.monotonic() + timeout

    def look() -> Any:
        try:
            return find(where.resources(), name)
        except NotThereError:
            if wanted == "Deleted":
                return None
            raise

    while (code := waiting.outcome(obj := guarded(look), wanted)) is None and time.monotonic() < end:
        time.sleep(max(0.0, min(interval, end - time.monotonic())))
    typer.echo(f"{title(obj)} {headline(obj)}" if obj else f"{name} is gone", err=code is not Exit.READY)
    raise typer.Exit(Exit.IN_PROGRESS if code is None else code)


def suspend(name: Name, namespace: Namespace = "", context: Context = "", kubeconfig: Kubeconfig = "") -> None:
    """Stop a job's pods and give back what they hold; `resume` goes on from the last checkpoint."""
    _set(name, namespace, context, kubeconfig, to=True)


def resume(name: Name, namespace: Namespace = "", context: Context = "", kubeconfig: Kubeconfig = "") -> None:
    """Let a suspended job go on from its last checkpoint."""
    _set(name, namespace, context, kubeconfig, to=False)


def _set(name: str, namespace: str, context: str, kubeconfig: str, *, to: bool) -> None:
    where = Cluster(kubeconfig, context, namespace)
    obj = guarded(lambda: find(where.resources(), name))
    try:
        change = suspension.patch(obj, suspend=to)
    except suspension.NotSuspendableError as error:
        stop(Exit.COMMAND, str(error))
    if change and suspension.finished(obj):
        stop(Exit.COMMAND, f"{title(obj)} has ended: {headline(obj)}")
    if change:
        guarded(lambda: where.patch(obj, change))
    words = ("suspended" if to else "resumed") if change else ("is suspended" if to else "is not suspended")
    typer.echo(f"{title(obj)} {words}")
    if change and (keeper := suspension.keeper(obj)):
        typer.echo(f"note: {keeper} keeps this resource, and may set it back to what git says", err=True)
