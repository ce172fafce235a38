"""A Kubernetes of today with our CRDs, applied as README says; the tests are skipped where none is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import install
from tests.cluster.kubectl import Kubectl
from tests.cluster.local import modern
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.local.release import given
from tests.cluster.rest import Client

NAMESPACES = {
    "slipway-system": {},
    "team": {},
    "open": {},
    "restricted": {"pod-security.kubernetes.io/enforce": "restricted"},
    "trusted": {"pod-security.kubernetes.io/enforce": "privileged"},
}


ANNOTATIONS = {"open": {"admission.slipway.dev/secrets": "data*"}}


class Without(pytest.Module):
    """Is skipped as a whole: its hundreds of cases are not even made."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        try:
            modern.programs()
        except modern.NotGivenError as error:
            pytest.skip(str(error), allow_module_level=True)
        raise AssertionError("it is given after all")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """A file of tests here, where there is a server for it."""
    try:
        modern.programs()
    except modern.NotGivenError:
        return Without.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="package")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The control plane, with namespaces of each trust."""
    release = given()
    # Nobody collects garbage: the owners that the tests name are not there.
    flags = ["--controllers=-garbage-collector-controller"]
    folder = tmp_path_factory.mktemp("modern")
    with ControlPlane(folder, release=release, audit=True, controller_manager=flags) as running:
        for name, labels in NAMESPACES.items():
            metadata = {"name": name, "labels": labels, "annotations": ANNOTATIONS.get(name, {})}
            running.client.apply("/api/v1/namespaces", {"metadata": metadata})
        yield running


@pytest.fixture(scope="package")
def kubectl(plane: ControlPlane) -> Kubectl:
    """kubectl, once the CRDs are served."""
    command = Kubectl(plane.kubeconfig)
    install.apply_crds(command)
    return command


@pytest.fixture(scope="package")
def client(plane: ControlPlane, kubectl: Kubectl) -> Client:
    """The administrator's client of the server with our kinds."""
    return plane.client
