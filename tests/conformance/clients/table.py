"""The table of docs/clients.md, from what a run has found. Pure; called by tests/perf/figures.py."""

from __future__ import annotations

import re
from typing import Any

VERSION = re.compile(r"\d+(?:\.\d+)+")


def _version(row: dict[str, Any]) -> str:
    found = VERSION.search(row["version"])
    return found[0] if found else ""


def _right(row: dict[str, Any]) -> str:
    results = row["results"]
    wrong = {name: fault for name, fault in results.items() if fault}
    told = "; ".join(f"{name}: {fault}" for name, fault in wrong.items())
    return f"{len(results) - len(wrong)} of {len(results)}" + (f" ({told})" if wrong else "")


def _program(name: str, row: dict[str, Any]) -> str:
    if "version" not in row:
        return f"| {name} | | {row['speaks']} | not tried |"
    without = f", cannot send {', '.join(row['without'])}" if row["without"] else ""
    return f"| {name} | {_version(row)} | {row['speaks']}{without} | {_right(row)} |"


def _protocol(name: str, row: dict[str, Any]) -> str:
    if "version" not in row:
        return f"| {name} | | | not tried |"
    return f"| {name} | {_version(row)} | {', '.join(row['results'])} | {_right(row)} |"


def _generator(name: str, row: dict[str, Any]) -> str:
    if "version" not in row:
        return f"| {name} | | not tried | |"
    cells = []
    for size in ("small", "large"):
        counted = row[size]
        kept = "" if counted["kept"] is None else f", {counted['kept']} on a kept connection"
        cells.append(f"{counted['right']} of {counted['sent']}{kept}")
    return f"| {name} | {_version(row)} | {' | '.join(cells)} |"


def tables(report: dict[str, Any]) -> str:
    """Programs, clients of the protocol, load generators, and those that were not to be had."""
    programs = [_program(name, row) for name, row in report["programs"].items()]
    programs += [f"| {name} | | | not tried |" for name in report["absent"]]
    protocol = [_protocol(name, row) for name, row in report["protocol"].items()]
    generators = [_generator(name, row) for name, row in report["generators"].items()]
    return "\n".join(
        [
            *("| client | version | speaks | answered rightly |", "|---|---|---|---|", *programs, ""),
            *(
                "| client of the protocol | version | what was tried | answered rightly |",
                "|---|---|---|---|",
                *protocol,
            ),
            *("", "| load generator, 8 connections | version | small input | large input |", "|---|---|---|---|"),
            *(*generators, ""),
        ]
    )
