"""Paths of parameters in a TrainingJob's spec, such as `recipe.optimizer.learningRate`: read and set. Pure.

A step names a field, or, in a list of named things, the thing: `trainer.env.LR` is the variable LR of a program of
one's own. The operator sets them in a trial, and the pod that measures it in the same template.
"""

import copy
import json
from typing import Any

from slipway.api.common.base import Model
from slipway.api.training.trainingjob import TrainingJobSpec

Value = str | int | float | bool
ENV = "trainer.env."


def put(spec: dict[str, Any], path: str, value: Value) -> dict[str, Any]:
    """A copy of the spec with this value at the path; objects on the way are made. ValueError where there is none."""
    made = copy.deepcopy(spec)
    if path.startswith(ENV):
        name = path.removeprefix(ENV)
        env = made.setdefault("trainer", {}).setdefault("env", [])
        env[:] = [one for one in env if one.get("name") != name]
        env.append({"name": name, "value": value if isinstance(value, str) else json.dumps(value)})
        return made
    node, steps = made, path.split(".")
    for step in steps[:-1]:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise ValueError(f"{path}: {step} is no object, and lists are not stepped into: choose another path")
    if isinstance(node.get(steps[-1]), dict | list):
        raise ValueError(f"{path}: {steps[-1]} is an object or a list: name a field of it that holds one value")
    node[steps[-1]] = value
    return made


def put_all(spec: dict[str, Any], values: dict[str, Value]) -> dict[str, Any]:
    """A copy of the spec with all values set. ValueError as `put`."""
    for path, value in values.items():
        spec = put(spec, path, value)
    return spec


def get(spec: dict[str, Any], path: str) -> Value | None:
    """Value at the path, or None."""
    if path.startswith(ENV):
        name = path.removeprefix(ENV)
        env = (spec.get("trainer") or {}).get("env") or []
        return next((one.get("value") for one in env if isinstance(one, dict) and one.get("name") == name), None)
    node: Any = spec
    for step in path.split("."):
        node = node.get(step) if isinstance(node, dict) else None
    return node if isinstance(node, Value) else None


def unknown(path: str) -> str | None:
    """Words on the first step of the path that a TrainingJob has no field for, or None."""
    if path.startswith(ENV):
        return None
    model: Any = TrainingJobSpec
    steps = path.split(".")
    for place, step in enumerate(steps):
        if not (isinstance(model, type) and issubclass(model, Model)):
            return None  # a map with keys of the user's own, or no field: the TrainingJob's own checks say so
        field = next((one for one in model.model_fields.values() if one.alias == step), None)
        if field is None:
            return f"a TrainingJob has no field {'.'.join(steps[: place + 1])}: correct the path"
        model = _model_of(field.annotation)
    return None


def _model_of(annotation: Any) -> Any:
    """Model that a field holds, or may hold beside None."""
    inner = [one for one in getattr(annotation, "__args__", ()) if isinstance(one, type) and issubclass(one, Model)]
    return inner[0] if len(inner) == 1 else annotation
