"""One control plane with our CRDs and a scripted kubelet for all tests here; one operator that most of them share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.operators import Operator
from tests.api.stage import Stage

_numbers = itertools.count()
SHARED = "shared"


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The real API server, and nodes that do what a test says."""
    with Stage(tmp_path_factory.mktemp("stage")) as running:
        running.namespace(SHARED)
        yield running


@pytest.fixture(scope="package")
def operators(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Operator]]:
    """Start an operator for one namespace; all are ended with the session."""
    started: list[Operator] = []

    def start(namespace: str, kubeconfig: Path | None = None, **env: str) -> Operator:
        log = tmp_path_factory.mktemp("operator") / "log"
        started.append(Operator(kubeconfig or stage.plane.kubeconfig, namespace, log, env))
        return started[-1]

    yield start
    for operator in started:
        operator.kill()


@pytest.fixture(scope="package")
def shared_operator(operators: Callable[..., Operator]) -> Operator:
    """Works in the namespace `shared` for the whole session."""
    return operators(SHARED)


@pytest.fixture(scope="module", autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Each file leaves what has no namespace as it found it: the next one on this server may be any other."""
    yield
    left = [trace for running in Stage.live for trace in running.left_behind()]
    assert not left, "left on a server that other tests use, too:\n" + "\n".join(left)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A job name that nobody else uses."""
    return f"j{next(_numbers)}"


@pytest.fixture
def namespace(stage: Stage) -> str:
    """A namespace of the test's own, in which no operator works yet."""
    return stage.namespace(f"ns-{next(_numbers)}")
