"""The real cluster with Slipway installed as shipped; each test has a namespace of its own."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import install
from tests.cluster.base import Cluster
from tests.cluster.choose import choose
from tests.cluster.images import build
from tests.cluster.kubectl import Kubectl

Job = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs the cluster."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="package")
def cluster() -> Iterator[Cluster]:
    """Brought up when it is not; ended again unless a person had it running before, or it is the person's own."""
    cluster = choose()
    ran = cluster.name != "local" or any(": runs" in line for line in cluster.status())
    cluster.up()
    yield cluster
    if not ran and not os.environ.get("SLIPWAY_KEEP_CLUSTER"):
        cluster.down()


@pytest.fixture(scope="package")
def images(cluster: Cluster) -> dict[str, str]:
    """Built and loaded; unchanged layers are reused."""
    return build.build_and_load(cluster)


@pytest.fixture(scope="package")
def installed(cluster: Cluster, images: dict[str, str]) -> Kubectl:
    """Slipway installed by `kubectl apply`."""
    kubectl = Kubectl(cluster.kubeconfig, cluster.context)
    install.install(kubectl, images)
    return kubectl


class Namespace:
    """kubectl bound to one namespace, and the waiting that tests do."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self.name = name
        self._kubectl = kubectl

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self._kubectl("-n", self.name, *arguments, **options)

    def get(self, *arguments: str) -> Job:
        return self._kubectl.get("-n", self.name, *arguments)

    def apply(self, document: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(document))

    def pods(self, job: str) -> list[Job]:
        found: list[Job] = self.get("pods", "-l", f"slipway.dev/job-name={job}")["items"]
        return found

    def until(
        self,
        kind: str,
        name: str,
        good: Callable[[Job], bool],
        what: str,
        timeout: float = 240,
        hopeless: Callable[[Job], bool] = lambda _: False,
    ) -> Job:
        """The object once it is as wanted; else, or once that is hopeless, what it said last."""
        end = time.monotonic() + timeout
        while True:
            found = self.get(kind, name)
            if good(found):
                return found
            if time.monotonic() > end or hopeless(found):
                pytest.fail(
                    f"{kind} {name} did not become {what} in {timeout:g} s:\n{yaml.safe_dump(found.get('status'))}"
                )
            time.sleep(0.3)

    def until_condition(self, kind: str, name: str, condition: str, timeout: float = 240) -> Job:
        return self.until(kind, name, lambda o: is_true(o, condition), condition, timeout, hopeless=ended)


def ended(obj: Job) -> bool:
    return bool((obj.get("status") or {}).get("completionTime"))


def is_true(obj: Job, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in (obj.get("status") or {}).get("conditions") or [])


def condition(obj: Job, kind: str) -> Job:
    return next((c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == kind), {})


@pytest.fixture
def namespace(installed: Kubectl) -> Iterator[Namespace]:
    """With the examples' claim in it, under Pod Security "restricted" where the server knows it."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed("create", "namespace", name)
    installed("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    install.use_storage(installed, name)
    yield Namespace(installed, name)
    installed("delete", "namespace", name, "--wait=false")


@pytest.fixture
def example() -> Callable[[str], dict[str, Any]]:
    """A manifest of manifests/examples, as the README shows it."""

    def read(name: str) -> dict[str, Any]:
        document: dict[str, Any] = yaml.safe_load(install.example(name).read_text())
        return document

    return read
