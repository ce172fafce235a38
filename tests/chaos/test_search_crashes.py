"""The operator dies at each of its writes while a search goes on: the same trials, and none twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.operators import Operator
from tests.api.proxy import WriteProxy
from tests.api.searchjob.searches import Searches
from tests.api.stage import Stage, marked

pytestmark = pytest.mark.api
_numbers = itertools.count()


@pytest.fixture(scope="module")
def proxy(stage: Stage) -> Iterator[WriteProxy]:
    with WriteProxy(stage.plane.kubeconfig) as running:
        yield running


@pytest.fixture(scope="module")
def searches(stage: Stage) -> Searches:
    return Searches(stage)


def story(searches: Searches, namespace: str, name: str) -> Any:
    """What is left of a search, without what differs from run to run."""
    status = searches.until(namespace, name, lambda told: marked(told, "Succeeded"), seconds=60)
    kept = ("number", "state", "parameters", "value")
    trials = [{key: one.get(key) for key in kept} for one in status["trials"]]
    return trials, status["best"]["number"], status["artifact"]["uri"].replace(name, "SEARCH")


@pytest.fixture(scope="module")
def undisturbed(
    stage: Stage,
    searches: Searches,
    proxy: WriteProxy,
    operators: Callable[..., Operator],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, Operator, Any, int]:
    """A namespace, its operator behind the proxy, the end of a run without a crash, and how many writes it takes."""
    namespace = stage.namespace("sj-crashes")
    operator = operators(namespace, proxy.kubeconfig(tmp_path_factory.mktemp("proxied") / "kubeconfig"))
    operator.ready()
    proxy.arm(None)
    searches.create(namespace, "calm")
    return namespace, operator, story(searches, namespace, "calm"), proxy.writes


def crash(searches: Searches, proxy: WriteProxy, undisturbed: tuple[str, Operator, Any, int], write: int) -> None:
    """Kill the operator at this write, start it again, and compare the end."""
    namespace, operator, expected, _ = undisturbed
    name = f"crash-{next(_numbers)}"
    proxy.arm(write, operator.kill)
    searches.create(namespace, name)
    if proxy.struck.wait(20) or not operator.running():
        operator.start()
    assert story(searches, namespace, name) == expected, f"killed at write {write}: {proxy.log}"
    assert set(searches.made(namespace, name).values()) == {1}, "a trial was made twice"
    assert operator.running()


@pytest.mark.parametrize("tenth", [2, 6])
def test_killed_at_some_writes(
    searches: Searches, proxy: WriteProxy, undisturbed: tuple[str, Operator, Any, int], tenth: int
) -> None:
    crash(searches, proxy, undisturbed, undisturbed[3] * tenth // 10)


@pytest.mark.slow
def test_killed_at_each_write(
    searches: Searches, proxy: WriteProxy, undisturbed: tuple[str, Operator, Any, int]
) -> None:
    for write in range(1, undisturbed[3] + 1):
        crash(searches, proxy, undisturbed, write)
