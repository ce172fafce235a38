"""`kubectl get qj` shows accuracy before and after, drop, size and speed, as the quantizer's last words say them."""

from typing import Any

from slipway.api.codegen.crd import definition
from slipway.api.quantization import quantizationjob
from tests.unit.quantizationjob.test_plan import World

HEADLINE = {
    "float": "98.10 %",
    "quantized": "98.00 %",
    "drop": "0.10 pt (-0.20 to 0.40)",
    "size": "3.70x smaller",
    "speed": "1.30x",
}


def shown(status: dict[str, Any]) -> dict[str, Any]:
    """What kubectl prints in its narrow form, by column."""
    version = definition(quantizationjob.KIND)["spec"]["versions"][0]
    cells = {}
    for column in version["additionalPrinterColumns"]:
        value: Any = {"status": status}
        if column.get("priority", 0) or "[?" in column["jsonPath"]:
            continue
        for key in column["jsonPath"].strip(".").split("."):
            value = value.get(key, {})
        cells[column["name"]] = value or ""
    return cells


def test_the_headline_is_in_the_columns() -> None:
    world = World()
    world.settle()
    world.end(stage="publish", message="published", outcome="quantized", selected="static", headline=HEADLINE)
    world.settle()
    cells = shown(world.job["status"])
    assert [cells[name] for name in ("FP32", "INT8", "Drop", "Size", "Speed")] == list(HEADLINE.values())
