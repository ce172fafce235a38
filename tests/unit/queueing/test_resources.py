"""What a pod takes of its node, by Kubernetes' own formula: sidecars, init containers, the pod as a whole, resizes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.queueing.resources import PLACE, REQUESTS, pod_requests, slim_footprint


def asks(cpus: int, name: str = "c", **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": {"cpu": str(cpus)}}, **more}


def sidecar(cpus: int, name: str = "s") -> dict[str, Any]:
    return asks(cpus, name, restartPolicy="Always")


def whole(**requests: str) -> dict[str, Any]:
    return {"requests": requests}


def granted(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


INFEASIBLE = [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]
DEFERRED = [{"type": "PodResizePending", "status": "True", "reason": "Deferred"}]


@pytest.mark.parametrize(
    ("spec", "status", "cpus"),
    [
        pytest.param({"containers": [asks(2)], "initContainers": [sidecar(1)]}, {}, 3, id="a native sidecar stays"),
        pytest.param(
            {"containers": [asks(2)], "initContainers": [asks(4), sidecar(1)]}, {}, 4, id="it begins after an init one"
        ),
        pytest.param(
            {"containers": [asks(2)], "initContainers": [sidecar(1), asks(4)]}, {}, 5, id="an init one runs beside it"
        ),
        pytest.param(
            {"containers": [asks(1)], "initContainers": [sidecar(1), asks(1), sidecar(2), asks(1)]},
            {},
            4,
            id="two sidecars and what comes between",
        ),
        pytest.param(
            {"containers": [asks(2), asks(3)], "initContainers": [asks(4)]}, {}, 5, id="containers beat a small init"
        ),
        pytest.param({"containers": [asks(1)], "resources": whole(cpu="8")}, {}, 8, id="the pod asks as a whole"),
        pytest.param(
            {"containers": [asks(1)], "resources": {"limits": {"cpu": "8"}}}, {}, 1, id="a limit leaves requests alone"
        ),
        pytest.param({"containers": [{}], "resources": {"limits": {"cpu": "8"}}}, {}, 8, id="a limit alone"),
        pytest.param(
            {"containers": [asks(4)], "resources": whole(memory="1Gi")}, {}, 4, id="the whole pod's memory alone"
        ),
        pytest.param(
            {"containers": [asks(1)], "resources": whole(cpu="2"), "overhead": {"cpu": "1"}}, {}, 3, id="and overhead"
        ),
        pytest.param(
            {"containers": [asks(2)]},
            {"containerStatuses": [granted("c", allocatedResources={"cpu": "5"})]},
            5,
            id="a container that shrinks still holds what it had",
        ),
        pytest.param(
            {"containers": [asks(2)]},
            {"containerStatuses": [granted("c", resources=whole(cpu="3"), allocatedResources={"cpu": "1"})]},
            3,
            id="what the runtime has given counts",
        ),
        pytest.param(
            {"containers": [asks(9)]},
            {"containerStatuses": [granted("c", resources=whole(cpu="2"))], "conditions": DEFERRED},
            9,
            id="a resize that waits is kept room for",
        ),
        pytest.param(
            {"containers": [asks(9)]},
            {"containerStatuses": [granted("c", resources=whole(cpu="2"))], "conditions": INFEASIBLE},
            2,
            id="a resize that can never be is not",
        ),
        pytest.param(
            {"containers": [asks(9)]},
            {"containerStatuses": [granted("c", allocatedResources={"cpu": "2"})], "resize": "Infeasible"},
            2,
            id="as servers before 1.33 say it",
        ),
        pytest.param(
            {"containers": [asks(2)], "initContainers": [sidecar(1)]},
            {"initContainerStatuses": [granted("s", allocatedResources={"cpu": "4"})]},
            6,
            id="a sidecar is resized, too",
        ),
        pytest.param(
            {"containers": [asks(2)], "initContainers": [asks(1, "i")]},
            {"initContainerStatuses": [granted("i", allocatedResources={"cpu": "4"})]},
            2,
            id="an init container is not",
        ),
        pytest.param(
            {"containers": [asks(1)], "resources": whole(cpu="2")},
            {"allocatedResources": {"cpu": "6"}, "resources": whole(cpu="5")},
            6,
            id="the pod as a whole is resized",
        ),
    ],
)  # fmt: skip
def test_the_scheduler_sets_aside(spec: dict[str, Any], status: dict[str, Any], cpus: int) -> None:
    assert pod_requests({"spec": spec, "status": status})["cpu"] == cpus * 1000


def test_devices_are_the_containers_even_where_the_pod_asks_as_a_whole() -> None:
    device = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "9"}}}
    spec = {"containers": [device], "resources": whole(cpu="4") | {"limits": {"nvidia.com/gpu": "7"}}}
    assert pod_requests({"spec": spec}) == {"nvidia.com/gpu": 2, "cpu": 4000}


INIT = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=6)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), INIT)
def test_it_is_the_most_that_runs_at_any_moment(containers: list[int], initial: list[tuple[int, bool]]) -> None:
    """Told as a story: each init container in its turn, sidecars that stay, then all containers at once."""
    moments, staying = [], 0
    for cpus, lasting in initial:
        moments.append(staying + cpus)
        staying += cpus if lasting else 0
    moments.append(staying + sum(containers))
    spec = {
        "containers": [asks(cpus) for cpus in containers],
        "initContainers": [sidecar(cpus) if lasting else asks(cpus) for cpus, lasting in initial],
    }
    assert pod_requests({"spec": spec})["cpu"] == 1000 * max(moments)


def test_a_resized_pod_is_kept_with_its_new_requests() -> None:
    pod = {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "spec": {"nodeName": "a", "containers": [asks(1)]},
        "status": {"phase": "Running", "containerStatuses": [granted("c", allocatedResources={"cpu": "3"})]},
    }
    kept = slim_footprint(pod)
    assert kept["spec"] == {PLACE: "a", REQUESTS: {"cpu": 3000}}
    assert slim_footprint(kept) == kept
