"""Each overlay but the usual one, installed in its place, is what its first line says."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster import install
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.e2e.conftest import Job, Namespace
from tests.e2e.training.steady import ends_well, started, waiting_job

pytestmark = pytest.mark.slow
LABELS = "app.kubernetes.io/name=slipway-operator"
TEAM = "models"
Change = Callable[..., None]


@pytest.fixture
def change(installed: Kubectl, images: dict[str, str]) -> Iterator[Change]:
    """Takes the usual installation away and puts another overlay there; the usual one comes back in the end."""
    there = [("cluster", install.NAMESPACE)]

    def replace(overlay: str, home: str = install.NAMESPACE) -> None:
        install.uninstall(installed, *there[-1])
        install.wait_gone(installed, "-n", there[-1][1], install.DEPLOYMENT)
        install.wait_gone(installed, "namespace", install.NAMESPACE)
        there.append((overlay, home))
        install.install(installed, images, overlay, home)

    yield replace
    replace("cluster")


@pytest.fixture
def team(installed: Kubectl) -> Iterator[Namespace]:
    """A namespace of a team's own, for the overlay `namespaced`."""
    installed("create", "namespace", TEAM)
    yield Namespace(installed, TEAM)
    installed("delete", "namespace", TEAM, "--timeout=60s")


def operators(kubectl: Kubectl) -> list[Job]:
    """Pods of the operator that are there to stay."""
    found = kubectl.get("-n", install.NAMESPACE, "pods", "-l", LABELS)["items"]
    return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]


def leader(kubectl: Kubectl) -> str:
    """Name of the pod that leads."""
    lease = kubectl.get("-n", install.NAMESPACE, "lease", "slipway-operator")
    return str(lease["spec"]["holderIdentity"]).rpartition("_")[0]


def test_of_two_operators_on_two_nodes_one_is_killed_and_the_other_goes_on(
    change: Change, installed: Kubectl, images: dict[str, str], namespace: Namespace
) -> None:
    change("high-availability")
    pods = operators(installed)
    names = {pod["metadata"]["name"] for pod in pods}
    assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2
    assert installed.get("-n", install.NAMESPACE, "pdb", "slipway-operator")["status"]["disruptionsAllowed"] == 1
    running = started(namespace, images["trainer"])
    first = leader(installed)
    assert first in names
    installed("-n", install.NAMESPACE, "delete", "pod", first, "--grace-period=0", "--force")
    ends_well(namespace, running)
    assert leader(installed) != first, "the other one, or the one that has come in the place of the first"


def test_a_teams_operator_runs_its_jobs_and_leaves_the_others_alone(
    change: Change, installed: Kubectl, images: dict[str, str], namespace: Namespace, team: Namespace
) -> None:
    change("namespaced", TEAM)
    namespace.apply(waiting_job("steady", images["trainer"]))
    ends_well(team, started(team, images["trainer"]))
    assert namespace.get("trainingjob", "steady")["status"]["observedGeneration"] == -1, "as the server made it"
    assert namespace.pods("steady") == []
    account = f"--as=system:serviceaccount:{TEAM}:slipway-operator"
    installed("auth", "can-i", "create", "pods", account, "-n", TEAM, "--quiet")
    for verb in ("list", "create", "delete"):
        with pytest.raises(KubectlError):  # `can-i` says no by its exit code
            installed("auth", "can-i", verb, "pods", account, "-n", namespace.name, "--quiet")


def test_the_one_for_development_says_everything(
    change: Change, installed: Kubectl, images: dict[str, str], namespace: Namespace
) -> None:
    change("development")
    ends_well(namespace, started(namespace, images["trainer"]))
    assert '"levelname": "DEBUG"' in installed("-n", install.NAMESPACE, "logs", install.DEPLOYMENT)
