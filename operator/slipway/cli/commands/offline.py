"""Commands that ask no cluster: plan, install, local."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slipway import __version__
from slipway.cli import local as here
from slipway.cli.manifests import documents
from slipway.cli.options import Files, Format, Output, guarded, stop
from slipway.cli.views.verdict import Exit
from slipway.install.render import NAMESPACE, Settings, SettingsError

if TYPE_CHECKING:
    from slipway.api.training.memory import Estimate
    from slipway.cli.preview import Preview


def plan(files: Files, output: Format = Output.TEXT) -> None:
    """Print what would be created, and what is wrong. No cluster is asked."""
    from slipway.cli.preview import preview
    from slipway.config import read_config

    previews = preview(guarded(lambda: documents(files)), read_config({}))
    if not previews:
        stop(Exit.CLUSTER, f"{', '.join(files)}: nothing of slipway.dev/v1alpha1")
    wire = [_preview_wire(one) for one in previews]
    if output is Output.JSON:
        typer.echo(json.dumps(wire, indent=2))
    elif output is Output.YAML:
        import yaml

        typer.echo(yaml.safe_dump(json.loads(json.dumps(wire)), sort_keys=False).rstrip())
    else:
        for one in previews:
            typer.echo(_preview_text(one))
    raise typer.Exit(Exit.FAILED if any(one.problems for one in previews) else Exit.READY)


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
        stop(Exit.COMMAND, str(error))


def local(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="a YAML file, a directory of them, or - for standard input")],
    output: Annotated[Path, typer.Option(help="artifacts and unfinished work go here")] = Path("slipway-local"),
    processes: Annotated[int, typer.Option(min=1, max=64, help="of a TrainingJob, on this machine")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the commands only")] = False,
) -> None:
    """Run the manifest as processes on this machine. What follows `--` goes to `python -m workloads`."""
    steps = guarded(lambda: here.steps(documents([file]), output, processes, context.args))
    for step in steps:
        typer.echo(f"{step.title}: {' '.join(step.argv)}", err=not dry_run)
        if not dry_run and (code := step.run()):
            raise typer.Exit(code)


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
