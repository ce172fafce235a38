"""status.servedModel: what a pod says of its model, within the status's bounds."""

import json

from slipway.inferenceservice.telemetry.served_model import read_model


def described(**properties: str) -> dict:
    tensors = [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    return {"name": "m", "platform": "onnx_onnxv1", "inputs": tensors, "outputs": tensors, "properties": properties}


def test_why_requests_are_not_batched_and_what_the_warm_up_found_are_shown() -> None:
    said = described(batching="off: DynamicQuantizeLinear takes its range over the whole batch", warning_1="NaN")
    model = read_model("r", json.dumps(said).encode())
    assert model["batching"] == said["properties"]["batching"]
    assert model["warnings"] == ["NaN"]


def test_long_names_and_many_warnings_do_not_cost_the_status() -> None:
    said = described(**{f"warning_{number}": "w" * 999 for number in range(40)}, batching="off: " + "b" * 999)
    said["inputs"] = [{"name": "n" * 500, "datatype": "FP32", "shape": [1]}] * 50
    model = read_model("r", json.dumps(said).encode())
    assert len(model["warnings"]) == 16
    assert len(model["inputs"]) == 32
    assert len(model["inputs"][0]["name"]) == 128
