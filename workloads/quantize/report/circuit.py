"""Section of the report on an FPGA's circuit: formats, reuse factors, and what they are estimated to take."""

from collections.abc import Mapping
from html import escape
from typing import Any

HEAD = ("layer", "weights", "gives", "reuse factor", "multipliers", "DSPs", "interval, clocks")


def section(report: Mapping[str, Any]) -> str:
    """The plan as a table; empty for every other target."""
    plan = report.get("circuit")
    if plan is None:
        return ""
    rows = "".join(
        f"<tr><td>{escape(layer['name'])}</td><td>{escape(layer['weights'])}</td><td>{escape(layer['result'])}</td>"
        + "".join(f"<td class=n>{layer[key]}</td>" for key in ("reuseFactor", "multipliers", "dsps", "intervalClocks"))
        + "</tr>"
        for layer in plan["layers"]
    )
    head = "".join(f"<th>{title}</th>" for title in HEAD)
    words = (
        f"Estimates for {escape(plan['part'])} at {plan['clockNs']:g} ns: {plan['dsps']} of {plan['dspsOfPart']} DSPs, "
        f"a sample every {plan['intervalClocks']} clocks ({plan['intervalMicroseconds']:g} µs), an answer after "
        f"{plan['latencyClocks']} clocks ({plan['latencyMicroseconds']:g} µs)."
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<h2>Circuit</h2><p>{words}</p>{table}<p class="muted">{escape(plan["source"])}.</p>'
