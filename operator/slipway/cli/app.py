"""The commands: options in, a screen or JSON and an exit code out. Everything that they know is in the files beside.

What a command needs beyond the others is imported within it: the models of all kinds take longer than `--help` may.

Exit codes: 0 well (succeeded, serving, nothing wrong), 1 failed or stalled or invalid, 2 wrong command line,
3 still on its way, 4 not there, 5 the cluster or a file cannot be read.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from slipway import __version__
from slipway.cli import local as here
from slipway.cli import report as reports
from slipway.cli.cluster import Cluster, ClusterError, NotThereError, find
from slipway.cli.lineage import lineage
from slipway.cli.verdict import Exit, verdict
from slipway.install.render import NAMESPACE, Settings, SettingsError

if TYPE_CHECKING:
    from rich.console import Console

    from slipway.api.training.memory import Estimate
    from slipway.cli.preview import Preview
    from slipway.cli.screen import View

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Slipway's resources, from the data set to the service."
)
LOG_LINES = 15


class Output(StrEnum):
    """Output format of a command."""

    TEXT = "text"
    JSON = "json"


Name = Annotated[str, typer.Argument(help="NAME, or KIND/NAME: tj/digits, qj/digits-int8, infsvc/digits")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="kubectl's current one when unset")]
Context = Annotated[str, typer.Option(help="of the kubeconfig")]
Kubeconfig = Annotated[str, typer.Option(help="as for kubectl")]
Format = Annotated[Output, typer.Option("--output", "-o")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="YAML, one or more documents")]


@app.command()
def status(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    output: Format = Output.TEXT,
) -> None:
    """One screen: conditions, pods, last failure with its log, progress, lineage."""
    view = _guarded(lambda: _view(Cluster(kubeconfig, context, namespace), name))
    _show(view, output)
    raise typer.Exit(verdict(view.obj))


@app.command()
def watch(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    interval: Annotated[float, typer.Option(min=0.1, help="seconds between two looks")] = 2.0,
) -> None:
    """Show the status again and again until the resource is well or has failed; exits as `status` does."""
    from rich.live import Live

    from slipway.cli.screen import render

    cluster = Cluster(kubeconfig, context, namespace)
    view = _guarded(lambda: _view(cluster, name))
    with Live(render(view), console=_console(), auto_refresh=False) as live:
        while verdict(view.obj) is Exit.IN_PROGRESS:
            time.sleep(interval)
            view = _guarded(lambda: _view(cluster, name))
            live.update(render(view), refresh=True)
    raise typer.Exit(verdict(view.obj))


@app.command()
def logs(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    pod: Annotated[str, typer.Option(help="a pod's name; the newest attempt's first pod when unset")] = "",
) -> None:
    """The log of a resource's newest pod; kubectl's exit code."""
    cluster = Cluster(kubeconfig, context, namespace)
    pods = _guarded(lambda: cluster.pods(find(cluster.resources(), name)))
    names = [found["metadata"]["name"] for found in pods]
    if not names or (pod and pod not in names):
        _stop(
            Exit.NOT_THERE,
            f"{name} has {f'no pod {pod}, only ' if pod and names else ''}{', '.join(names) or 'no pods'}",
        )
    words = [*cluster.base, "logs", pod or names[0], *(["--follow"] if follow else [])]
    raise typer.Exit(subprocess.run(words, check=False).returncode)


@app.command()
def report(
    name: Name,
    namespace: Namespace = "",
    context: Context = "",
    kubeconfig: Kubeconfig = "",
    to: Annotated[Path, typer.Option(help="where to write the page")] = Path("report.html"),
    show: Annotated[bool, typer.Option("--open/--no-open", help="open it in the browser")] = True,
) -> None:
    """Fetch the report of a QuantizationJob and open it."""
    cluster = Cluster(kubeconfig, context, namespace)
    page = _guarded(lambda: reports.fetch(cluster, find(cluster.resources(), name)))
    to.write_bytes(page)
    typer.echo(f"wrote {to}")
    if show and sys.stdout.isatty():
        typer.launch(str(to))


@app.command()
def plan(file: File, output: Format = Output.TEXT) -> None:
    """Print what would be created, and what is wrong. No cluster is asked."""
    from slipway.cli.preview import preview
    from slipway.config import read_config

    previews = preview(_documents(file), read_config({}))
    if not previews:
        _stop(Exit.CLUSTER, f"{file} holds nothing of slipway.dev/v1alpha1")
    if output is Output.JSON:
        typer.echo(json.dumps([_preview_wire(one) for one in previews], indent=2))
    else:
        for one in previews:
            typer.echo(_preview_text(one))
    raise typer.Exit(Exit.FAILED if any(one.problems for one in previews) else Exit.READY)


@app.command()
def install(  # noqa: PLR0913, PLR0917 (a command's options)
    registry: Annotated[str, typer.Option(help="HOST[:PORT][/PATH] where `make push` has put the images")],
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="where the operator lives")] = NAMESPACE,
    watch: Annotated[str, typer.Option("--watch-namespaces", help="a,b: works there only; all when unset")] = "",
    tag: Annotated[str, typer.Option(help="of the images")] = __version__,
    images_digest: Annotated[Path | None, typer.Option(help="what `make push` printed: digests for tags")] = None,
    high_availability: Annotated[bool, typer.Option("--high-availability", help="two operators on two nodes")] = False,
    crds: Annotated[bool, typer.Option("--crds/--no-crds", help="print the CRDs, too")] = True,
    create_namespace: Annotated[bool, typer.Option("--create-namespace/--no-create-namespace")] = True,
) -> None:
    """Print the manifests of an installation, for `kubectl apply -f -`. No cluster is asked."""
    from slipway.cli import installing

    try:
        known = installing.digests(images_digest) if images_digest else {}
        watched = tuple(dict.fromkeys(watch.replace(" ", "").split(","))) if watch else ()
        settings = Settings(namespace, registry.rstrip("/"), tag, known, watched, high_availability)
        typer.echo(installing.text(settings, crds=crds, namespace=create_namespace), nl=False)
    except SettingsError as error:
        _stop(Exit.COMMAND, str(error))


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def local(
    context: typer.Context,
    file: File,
    output: Annotated[Path, typer.Option(help="artifacts and unfinished work go here")] = Path("slipway-local"),
    processes: Annotated[int, typer.Option(min=1, max=64, help="of a TrainingJob, on this machine")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the commands only")] = False,
) -> None:
    """Run the manifest as processes on this machine. What follows `--` goes to `python -m workloads`."""
    steps = _guarded(lambda: here.steps(_documents(file), output, processes, context.args))
    for step in steps:
        typer.echo(f"{step.title}: {' '.join(step.argv)}", err=not dry_run)
        if not dry_run and (code := step.run()):
            raise typer.Exit(code)


def _view(cluster: Cluster, name: str) -> "View":
    from slipway.cli.screen import View

    resources = cluster.resources()
    obj = find(resources, name)
    failed = ((obj.get("status") or {}).get("lastFailure") or {}).get("pod")
    log = cluster.log_tail(failed, LOG_LINES) if failed else ""
    return View(obj, cluster.pods(obj), lineage(obj, resources), log)


def _show(view: "View", output: Output) -> None:
    from slipway.cli.screen import render

    if output is Output.JSON:
        typer.echo(json.dumps(view.wire(), indent=2))
    else:
        _console().print(render(view))


def _console() -> "Console":
    from rich.console import Console

    return Console(soft_wrap=False)


def _guarded(do: Callable[[], Any]) -> Any:
    """Turn what can go wrong into words and an exit code."""
    try:
        return do()
    except NotThereError as error:
        _stop(Exit.NOT_THERE, str(error))
    except (ClusterError, reports.UnreachableError) as error:
        _stop(Exit.CLUSTER, str(error))
    except here.NotLocalError as error:
        _stop(Exit.FAILED, str(error))


def _stop(code: Exit, words: str) -> NoReturn:
    typer.echo(f"error: {words}", err=True)
    raise typer.Exit(code)


def _documents(file: Path) -> list[dict[str, Any]]:
    import yaml

    try:
        return [document for document in yaml.safe_load_all(file.read_text()) if isinstance(document, dict)]
    except (OSError, yaml.YAMLError) as error:
        _stop(Exit.CLUSTER, f"{file}: {error}")


def _preview_wire(one: "Preview") -> dict[str, Any]:
    memory = [{**vars(row), "name": row.name.value} for row in one.memory]
    return {**vars(one), "memory": memory}


def _preview_text(one: "Preview") -> str:
    lines = [f"{one.kind} {one.name}"]
    lines += [f"  wrong: {problem}" for problem in one.problems]
    lines += [f"  assuming that {assumed}" for assumed in one.assumes]
    lines += [f"  fills in {told}" for told in one.fills]
    lines += [f"  creates {made['kind']} {made['metadata']['name']}{_wants(made)}" for made in one.creates]
    lines += [f"  memory {_memory_text(row)}" for row in one.memory]
    return "\n".join(lines)


def _memory_text(row: "Estimate") -> str:
    sizes = f"{row.device_bytes / 2**30:8.1f} GiB of a GPU, {row.host_bytes / 2**30:6.1f} GiB of the node"
    return f"{row.name.value:<14} {sizes}, for each process{'' if row.fits else '; does not fit'}"


def _wants(made: dict[str, Any]) -> str:
    """Resource limits of a pod's or a Deployment's containers, as words; empty for other kinds."""
    spec = made["spec"].get("template", made).get("spec", {}) if made["kind"] in {"Pod", "Deployment"} else {}
    asked = [((c.get("resources") or {}).get("limits") or {}) for c in spec.get("containers") or []]
    return "".join(f", {name} {amount}" for limits in asked for name, amount in limits.items())


def run() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    run()
