"""One real control plane for all tests of the runtime; each test gets a namespace of its own and a client."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest

from slipway.runtime.client.kube import Kube, KubeConfig
from tests.cluster.local.control_plane import ControlPlane

_numbers = itertools.count()


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.fixture
async def kube(plane: ControlPlane) -> AsyncIterator[Kube]:
    async with Kube(KubeConfig.load(plane.kubeconfig), timeout=10) as client:
        yield client


@pytest.fixture
def namespace(plane: ControlPlane) -> str:
    name = f"runtime-{next(_numbers)}"
    plane.client.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    return name
