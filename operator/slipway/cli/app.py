"""The command line: which commands there are. Everything that they know is in the files beside.

What a command needs beyond the others is imported within it: the models of all kinds take longer than `--help` may.

Exit codes: 0 well (succeeded, serving, nothing wrong), 1 failed or stalled or invalid, 2 wrong command line,
3 still on its way, 4 not there, 5 the cluster or a file cannot be read.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from slipway import __version__
from slipway.cli.commands import changing, looking, offline

app = typer.Typer(no_args_is_help=True, help="Slipway's resources, from the data set to the service.")

COMMANDS: dict[str, Callable[..., None]] = {
    "list": looking.list_,
    "status": looking.status,
    "watch": looking.watch,
    "wait": changing.wait,
    "logs": looking.logs,
    "report": looking.report,
    "suspend": changing.suspend,
    "resume": changing.resume,
    "plan": offline.plan,
    "install": offline.install,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})(offline.local)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"slipway {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Slipway's resources, from the data set to the service."""


def run() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    run()
