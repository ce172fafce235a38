"""A control plane of their own: one operator works in all namespaces, and a stranger has one of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.api.forged.tenant import Tenant
from tests.api.operators import Operator
from tests.api.stage import Stage

_numbers = itertools.count()


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The real API server; no other test's operator sees it."""
    with Stage(tmp_path_factory.mktemp("forged")) as running:
        yield running


@pytest.fixture(scope="package")
def operator(stage: Stage, operators: Callable[..., Operator]) -> Operator:
    """Of the whole cluster, as it is usually installed."""
    return operators("", stage.plane.kubeconfig, SLIPWAY_SERVER_IMAGE="registry.example.com/slipway/server:test")


@pytest.fixture
def victim(stage: Stage, operator: Operator) -> str:
    """A namespace in which somebody works."""
    operator.ready()
    return stage.namespace(f"victim-{next(_numbers)}")


@pytest.fixture
def stranger(stage: Stage) -> Tenant:
    """Somebody else's account, with all rights to pods in a namespace of his own."""
    return Tenant(stage, stage.namespace(f"stranger-{next(_numbers)}"))


@pytest.fixture
def insider(stage: Stage, victim: str) -> Tenant:
    """An account with all rights to pods in the victim's own namespace, and to nothing else."""
    return Tenant(stage, victim)
