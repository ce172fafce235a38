"""Options and endings that the commands share: which cluster, which format, which exit code."""

import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from slipway.cli.cluster import ClusterError, NotThereError
from slipway.cli.completion import names
from slipway.cli.local import NotLocalError
from slipway.cli.manifests import ManifestError, MissingFileError
from slipway.cli.report import UnreachableError
from slipway.cli.views.verdict import Exit

if TYPE_CHECKING:
    from rich.console import Console


class Output(StrEnum):
    """Output format of a command."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


class ListOutput(StrEnum):
    """Output format of a list; `name` for other commands, one a line."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


NAME_HELP = "NAME, or KIND/NAME: tj/digits, qj/digits-int8, infsvc/digits"
Name = Annotated[str, typer.Argument(help=NAME_HELP, autocompletion=names)]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="kubectl's current one when unset")]
Context = Annotated[str, typer.Option(help="of the kubeconfig")]
Kubeconfig = Annotated[str, typer.Option(help="as for kubectl")]
Format = Annotated[Output, typer.Option("--output", "-o")]
ListFormat = Annotated[ListOutput, typer.Option("--output", "-o")]
Files = Annotated[list[str], typer.Argument(help="YAML or JSON files, directories of them, or - for standard input")]

_ENDINGS: tuple[tuple[type[Exception], Exit], ...] = (
    (NotThereError, Exit.NOT_THERE),
    (ClusterError, Exit.CLUSTER),
    (UnreachableError, Exit.CLUSTER),
    (MissingFileError, Exit.COMMAND),
    (ManifestError, Exit.CLUSTER),
    (NotLocalError, Exit.FAILED),
)


def guarded(do: Callable[[], Any]) -> Any:
    """Turn what can go wrong into words and an exit code."""
    try:
        return do()
    except tuple(kind for kind, _ in _ENDINGS) as error:
        stop(next(code for kind, code in _ENDINGS if isinstance(error, kind)), str(error))


def stop(code: Exit, words: str) -> NoReturn:
    """Say what is wrong, and end with the code."""
    typer.echo(f"error: {words}", err=True)
    raise typer.Exit(code)


def console() -> "Console":
    """The terminal: as wide as it is, and 80 columns where the output goes into a file or a pipe."""
    from rich.console import Console

    return Console(soft_wrap=False, file=sys.stdout)
