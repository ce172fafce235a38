"""A control plane of its own, which checks owners' finalizers as strict clusters do, with exactly our rights on it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.operators import Operator
from tests.api.rbac.life import Life
from tests.api.rbac.role import ACCOUNT, NAMESPACE, install
from tests.api.stage import Stage
from tests.api.watching import watch
from tests.cluster.local.control_plane import ControlPlane
from tests.ports import free_port

_numbers = itertools.count()


class Guarded:
    """The stage, and the operator under its service account; `restart` gives it a fresh process."""

    def __init__(self, stage: Stage, scratch: Path) -> None:
        self.stage, self._scratch = stage, scratch
        self.kubeconfig = stage.plane.kubeconfig_for_service_account(NAMESPACE, ACCOUNT)
        self.port = free_port()
        self.operator: Operator | None = None
        self._logs: list[Path] = []

    def restart(self, **more: str) -> Operator:
        """End the operator that runs, if any, and start one that works in all namespaces; `more` of its settings."""
        self.end()
        number = next(_numbers)
        env = {
            "SLIPWAY_LEASE_NAMESPACE": NAMESPACE,
            # Nobody waits here for the lease of a predecessor that was killed.
            "SLIPWAY_LEASE_NAME": f"lease-{number}",
            "SLIPWAY_STATUS_URL": f"https://127.0.0.1:{self.port}",
            "SLIPWAY_STATUS_PORT": str(self.port),
            "SLIPWAY_STATUS_CERT_DIR": str(self._scratch / "none"),
            "SLIPWAY_STATUS_MADE_DIR": str(self._scratch / "made"),
            **more,
        }
        self._logs.append(self._scratch / f"log-{number}")
        self.operator = Operator(self.kubeconfig, "", self._logs[-1], env)
        return self.operator

    def keep(self) -> None:
        """As the kubelet does: on a busy machine a lease may be lost, and then the process ends."""
        if self.operator is None or not self.operator.running():
            self.restart()

    def said(self) -> str:
        """Everything that its processes have logged."""
        return "".join(log.read_text() for log in self._logs if log.exists())

    def end(self) -> None:
        if self.operator is not None:
            self.operator.kill()

    def life(self) -> Life:
        namespace = self.stage.namespace(f"life-{next(_numbers)}")
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        # Until 1.24 its pods were refused before it had a token in a Secret.
        tokens = self.stage.plane.release.minor < 24
        watch(
            self.stage.plane.client,
            accounts,
            lambda all_: "default" in all_ and (not tokens or all_["default"].get("secrets")),
        )
        return Life(self.stage, namespace, f"https://127.0.0.1:{self.port}")


def follow(life: Life, holds: Callable[[], bool], seconds: float) -> bool:
    """Keep the life going until `holds`; whether it did in time."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        life.poke()
        time.sleep(0.2)  # a log has no watch
    return True


@pytest.fixture(scope="package")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """Started once for all tests here."""
    folder = tmp_path_factory.mktemp("guarded")
    stage = Stage(folder / "plane")
    stage.plane = ControlPlane(
        folder / "plane",
        audit=True,
        controller_manager=None,
        apiserver_flags=["--enable-admission-plugins=OwnerReferencesPermissionEnforcement"],
    )
    with stage:
        install(stage.plane.client)
        stage.traces.mark()
        guarded = Guarded(stage, folder)
        yield guarded
        guarded.end()
