"""The longest names that are accepted, on a real API server: all their objects are made, and they end."""

from __future__ import annotations

import pytest

from tests.api.stage import Stage
from tests.cluster.rest import ApiError
from tests.cluster.scripted.script import Script

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("shared_operator")]

NS = "shared"
LONGEST = {1: 50, 11: 49, 101: 48}


@pytest.mark.parametrize("nodes", [1, 11, pytest.param(101, marks=pytest.mark.slow)])
def test_the_longest_name_works_and_one_more_is_refused(stage: Stage, nodes: int) -> None:
    name = f"n{nodes}".ljust(LONGEST[nodes], "x")
    stage.scripts[name] = lambda pod: Script(runs_for=0.2)
    stage.create(NS, name, numNodes=nodes)
    stage.until_condition(NS, name, "Succeeded", seconds=60)
    stage.until_pods(NS, name, lambda pods: len(pods) == nodes)
    longer = f"{name}x"
    code = refusal(stage, longer, nodes)
    if code is None:
        # A server without CEL lets it in: the operator says so at once.
        stalled = stage.until_condition(NS, longer, "Stalled", reason="InvalidSpec", seconds=5)
        assert "shorten it" in next(c["message"] for c in stalled["conditions"] if c["type"] == "Stalled")
    else:
        assert code == 422


def refusal(stage: Stage, name: str, nodes: int) -> int | None:
    """The server's code, or None if it takes the job."""
    try:
        stage.create(NS, name, numNodes=nodes)
    except ApiError as error:
        return error.code
    return None


@pytest.mark.parametrize("length", [52, 63, 64])
def test_a_name_that_no_number_of_nodes_can_have_is_refused_by_the_schema(stage: Stage, length: int) -> None:
    with pytest.raises(ApiError) as refused:
        stage.create(NS, "x" * length)
    assert refused.value.code in (400, 422)
