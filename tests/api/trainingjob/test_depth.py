"""One object of one tenant, as deep as a server takes it, and an operator for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from slipway.runtime.client.document import accept_depth
from tests.api.operators import Operator
from tests.api.stage import JOBS, Stage

pytestmark = pytest.mark.api
# Beside what is around it, the server's own limit of 10,000.
LEVELS = 9_900


def deep_job(stage: Stage, namespace: str, name: str) -> None:
    """A job whose managedFields lie that deep. Nobody needs a right for that but to create jobs."""
    fields: dict[str, Any] = {}
    for _ in range(LEVELS):
        fields = {"f:a": fields}
    manager = {"manager": "m", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1"}
    body = {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {
            "name": name,
            "managedFields": [{**manager, "apiVersion": "slipway.dev/v1alpha1", "fieldsV1": fields}],
        },
        "spec": {"trainer": {"image": "x", "command": ["train"]}, "runPolicy": {"suspend": True}},
    }
    stage.plane.client.call("POST", JOBS.format(namespace), body)


def test_an_object_deeper_than_parsers_go_stops_no_operator(
    stage: Stage, operators: Callable[..., Operator], namespace: str
) -> None:
    """Its LIST could not be read, nor its watch: the operator ended, and so did every one after it."""
    accept_depth()
    deep_job(stage, namespace, "deep")
    operator = operators(namespace)
    operator.ready()
    stage.create(namespace, "before")
    stage.until_running(namespace, "before")
    deep_job(stage, namespace, "deeper")
    stage.until_condition(namespace, "deeper", "Suspended")
    stage.create(namespace, "after")
    stage.until_running(namespace, "after")
    assert operator.running()
