"""The figures of a `bench` for people, by rich."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

COLUMNS = ("model", "engine", "p50 ms", "p99 ms", "spread", "samples/s", "times as fast", "memory MB", "file MB")
WIDTH = 120  # of what is no terminal: a file, a pod's log
LONGEST = 28  # of a model's path, from its end


def console() -> Console:
    """Console as wide as the terminal, or of WIDTH columns where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print the models, then the rows, then what was not measured and why."""
    console.print(_models(report))
    for (threads, batch), rows in groupby(report["rows"], lambda row: (row["threads"], row["batchSize"])):
        console.print(f"\nthreads: {threads}, samples of a call: {batch}", style="bold")
        console.print(_rows(list(rows), energy=isinstance(report["energy"], list)))
    machine = report["machine"]
    console.print(
        f"\n{machine['cpu']}, {machine['cores']:g} cores, load {machine['loadAtStart']:g} to {machine['loadAtEnd']:g}; "
        f"{report['rounds']} rounds in turns after {report['warmup']} to warm up. Spread: interquartile range over the "
        "median, ! above 10 %. Times as fast as the first row: median of the rounds, 95 % interval."
    )
    if isinstance(report["energy"], str):
        console.print(f"energy: {report['energy']}")
    for one in report["notMeasured"]:
        console.print(f"{one['model']} on {one['engine']}: {one['reason']}", style="dim", markup=False)


def _models(report: Mapping[str, Any]) -> Table:
    table = Table("model", "parameters", "FLOPs of a sample", "figures", box=None, pad_edge=False)
    for model in report["models"]:
        figures = ", ".join(f"{name} {value:.5g}" for name, value in model["metrics"].items() if value is not None)
        table.add_row(_tail(model["model"]), _counted(model["parameters"]), _counted(model["flops"]), figures)
    return table


def _rows(rows: Sequence[Mapping[str, Any]], *, energy: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in [*COLUMNS, *(["J/sample"] if energy else [])]:
        table.add_column(name, no_wrap=True, justify="left" if name in COLUMNS[:2] else "right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    ratio, memory = row["timesAsFastAsFirst"], row["memoryBytes"]
    cells = [
        _tail(row["model"]),
        row["engine"],
        f"{row['p50Ms']:.4g}",
        f"{row['p99Ms']:.4g}",
        f"{row['iqrMs'] / row['p50Ms']:.0%}{'!' if row['restless'] else ''}",
        f"{row['samplesPerSecond']:,.0f}",
        f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})",
        "?" if memory is None else f"{memory / 1e6:.1f}",
        f"{row['fileBytes'] / 1e6:.3g}",
    ]
    joules = row["joulesPerSample"]
    return cells if joules is None else [*cells, ", ".join(f"{name} {value:.3g}" for name, value in joules.items())]


def _tail(where: str) -> str:
    """The end of a path, which is what differs."""
    path = where.rstrip("/")
    return path if len(path) <= LONGEST else "…" + path[1 - LONGEST :]


def _counted(value: int | None) -> str:
    return "not known" if value is None else f"{value:,}"
