"""`python -m workloads bench front`: a SearchJob's trials as a page, objective against the first constraint's figure.

Reads the resource as `kubectl get searchjob NAME -o json` prints it; called by `slipway report`. Exit codes: `bench`.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from workloads import errors
from workloads.libraries import extra, optional

COLUMNS = ("trial", "state", "objective", "figures", "parameters", "words")


def main(arguments: list[str]) -> int:
    """Write the page. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workloads bench front", description="Draw a SearchJob's trials.")
    parser.add_argument("--search", type=Path, required=True, metavar="FILE", help="the resource as JSON")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="where the page goes")
    options = parser.parse_args(arguments)
    try:
        options.output.write_text(page(json.loads(options.search.read_text())))
    except errors.BadInput as error:
        print(f"error: {error}", file=sys.stderr)
        return errors.BAD_INPUT
    return errors.SUCCESS


def page(search: Mapping[str, Any]) -> str:
    """The page. BadInput where no trial has succeeded yet."""
    from workloads.measure.charts import STYLE

    status, spec = search.get("status") or {}, search["spec"]
    metric = (spec.get("objective") or {}).get("metric", "accuracy")
    best = status.get("best")
    if best is None:
        raise errors.BadInput(f"SearchJob {search['metadata']['name']} has no trial that succeeded yet")
    name = escape(str(search["metadata"]["name"]))
    head = f"<h1>{name}</h1><p>The best trial is {escape(best['name'])}: {escape(metric)} {best['value']:g}.</p>"
    rows = "".join(_row(trial) for trial in status.get("trials") or [])
    table = f"<table><tr>{''.join(f'<th>{column}</th>' for column in COLUMNS)}</tr>{rows}</table>"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{name}</title><style>{STYLE}</style>'
        f'<body>{head}<div class="plots"><figure>{chart(search, metric)}</figure></div>'
        f'<h2>Trials</h2><div class="wide">{table}</div></body></html>\n'
    )


def chart(search: Mapping[str, Any], metric: str) -> str:
    """Objective against the first constraint's figure, the front as a line; against the number where there is none."""
    optional("matplotlib", "the chart is drawn by matplotlib", extra("quantize", "the quantizer's image"))
    from workloads.quantize.report.charts import Point, scatter

    status, spec = search["status"], search["spec"]
    first = (spec.get("constraints") or [None])[0]
    # The chart's better end is its upper one.
    sign = -1 if (spec.get("objective") or {}).get("goal") == "minimize" else 1
    front = {point["number"] for point in status.get("pareto") or []} | {status["best"]["number"]}
    points = [
        Point(
            _figure(trial, first),
            sign * trial["value"],
            sign * trial["value"],
            sign * trial["value"],
            f"trial {trial['number']}: {trial['value']:g}",
            "chosen" if trial["number"] == status["best"]["number"] else "dot",
            str(trial["number"]) if trial["number"] in front else "",
        )
        for trial in status["trials"]
        if trial["state"] == "Succeeded"
    ]
    across = "number of the trial" if first is None else f"{first['metric']} on {first.get('engine', 'onnxruntime')}"
    return scatter(points, across, metric if sign > 0 else f"minus {metric}")


def _figure(trial: Mapping[str, Any], constraint: Mapping[str, Any] | None) -> float:
    if constraint is None:
        return float(trial["number"])
    key = "-".join(
        str(part)
        for part in (constraint["metric"], constraint.get("engine", "onnxruntime"), constraint.get("batch", 1))
    )
    return next(float(one["value"]) for one in trial["figures"] if one["name"] == key)


def _row(trial: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{one['name']} {float(one['value']):g}" for one in trial.get("figures") or [])
    parameters = ", ".join(f"{path} {value}" for path, value in (trial.get("parameters") or {}).items())
    value = f"{trial['value']:g}" if "value" in trial else ""
    cells: Sequence[str] = (str(trial["number"]), trial["state"], value, figures, parameters, trial.get("message", ""))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
