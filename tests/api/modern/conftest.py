"""A Kubernetes of today with our CRDs, applied as README says; the tests are skipped where it has not been built."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.crds import install_crds
from tests.cluster import install
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import modern
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.local.custom import CustomResources
from tests.cluster.local.release import MODERN
from tests.cluster.rest import Client

NAMESPACES = {
    "slipway-system": {},
    "team": {},
    "restricted": {"pod-security.kubernetes.io/enforce": "restricted"},
    "trusted": {"pod-security.kubernetes.io/enforce": "privileged"},
}


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane, with namespaces of each trust."""
    try:
        modern.prepare()
    except modern.NotBuiltError as error:
        pytest.skip(str(error))
    # Nobody collects garbage: the owners that the tests name are not there.
    flags = ["--controllers=-garbage-collector-controller"]
    folder = tmp_path_factory.mktemp("modern")
    with ControlPlane(folder, release=MODERN, audit=True, controller_manager=flags) as running:
        for name, labels in NAMESPACES.items():
            running.client.apply("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        yield running


@pytest.fixture(scope="package")
def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl, once the CRDs are served."""
    command = Kubectl(plane.kubeconfig)
    install.apply_crds(command)
    return command


@pytest.fixture(scope="package")
def custom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustomResources]:
    """A server of our kinds alone."""
    try:
        with CustomResources(tmp_path_factory.mktemp("custom")) as running:
            install_crds(running.client)
            yield running
    except modern.NotBuiltError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="package")
def client(custom: CustomResources) -> Client:
    """The administrator's client of that server."""
    return custom.client
