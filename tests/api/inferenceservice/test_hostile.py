"""A tenant's image says what it likes on its metrics page: the operator works on for everybody else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from slipway.inferenceservice.service import HTTP_PORT
from tests.api.inferenceservice.services import Town
from tests.api.operators import Operator
from tests.api.stage import Stage, marked
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Script
from tests.unit.hostile.attackers import HEAD, attacker

pytestmark = pytest.mark.api
ENV = {"SLIPWAY_SERVER_IMAGE": "registry.example.com/slipway/server:test", "SLIPWAY_LEASE_NAME": "hostile"}
ADDRESS = "127.9.250.1"
# As it was found: 0.83 MiB, for which prometheus_client's parser takes half a minute.
LINE = b"slipway_outputs_total{" + b",".join(b'a%d="x"' % i for i in range(80_000)) + b"} 1\n"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases/hostile"


def lease(stage: Stage, namespace: str) -> dict[str, Any]:
    """The lease's spec; a standby is ready, too, a moment before it leads."""
    end = time.monotonic() + 60
    while True:
        try:
            spec: dict[str, Any] = stage.plane.client.get(LEASES.format(namespace))["spec"]
        except ApiError:
            assert time.monotonic() < end, "nobody leads"
            time.sleep(0.05)
        else:
            return spec


def told(status: dict[str, Any]) -> str:
    """What the service says of its metrics; nothing where it says nothing yet."""
    found = (each for each in status.get("conditions") or [] if each["type"] == "MetricsReady")
    return next((str(each["message"]) for each in found), "")


def test_a_metrics_page_of_one_line_with_80000_labels_stops_nobody_but_its_own_figures(
    stage: Stage, operators: Callable[..., Operator], name: str
) -> None:
    """The loop stood still for 26 s, the lease was lost, the process ended, and the next leader asked the same pod."""
    namespace = stage.namespace("hostile")
    operator = operators(namespace, **ENV, SLIPWAY_LEASE_NAMESPACE=namespace)
    operator.ready()
    holder = lease(stage, namespace)
    town = Town(stage, namespace)
    stage.scripts[name] = lambda _: Script(runs_for=None, address=ADDRESS)
    with attacker(HEAD + LINE, at=(ADDRESS, HTTP_PORT)):
        town.create(name, replicas=2, autoScaling={"minReplicas": 1, "maxReplicas": 4, "scaleTarget": 4})
        town.until_ready(name)
        # Both replicas are asked, each in its own time.
        status = town.until(name, lambda s: "nor those of 1 other pod" in told(s), 60)
        assert marked(status, "MetricsReady", "False", "MetricsUnreadable")
        stage.create(namespace, f"{name}-other")
        stage.until_running(namespace, f"{name}-other")
        assert told(status).startswith(f"metrics of pod {name}-")
        assert "more than 262144 bytes; nor those of 1 other pod" in told(status)
        assert marked(status, "Ready", "True"), "it serves"
        assert status["autoScaling"]["desired"] == 2, "who cannot be asked changes nothing"
    assert operator.running()
    kept = lease(stage, namespace)
    assert kept["holderIdentity"] == holder["holderIdentity"]
    assert kept["leaseTransitions"] == holder["leaseTransitions"]
