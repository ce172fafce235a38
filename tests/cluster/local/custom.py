"""The part of a kube-apiserver of today that serves custom resources, beside a control plane of Debian 12.

It is the very code that a kube-apiserver runs for them: structural schemas, defaults, pruning, CEL with its budgets,
server-side apply. Namespaces and rights are those of the other server. kubectl cannot talk to it.
"""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.local import modern
from tests.cluster.local.control_plane import ControlPlane, NotReadyError, _free_ports
from tests.cluster.local.pki import kubeconfig, write_private
from tests.cluster.local.process import Process
from tests.cluster.local.release import BOOKWORM
from tests.cluster.rest import ApiError, Client

_PROGRAM = "apiextensions-apiserver"


@dataclass
class CustomResources:
    """Use it as a context manager. Raises modern.NotBuiltError where it was never built."""

    directory: Path

    def __enter__(self) -> Self:
        modern.program(_PROGRAM)
        self.beside = ControlPlane(self.directory / "beside", controller_manager=None, release=BOOKWORM)
        self.beside.start()
        (self._port,) = _free_ports(1)
        self._process.start()
        self._await()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()
        self.beside.stop()

    @cached_property
    def kubeconfig(self) -> Path:
        """The administrator's, for this server."""
        pair = self.beside.site.authority.issue("admin", "slipway-admin", ["system:masters"])
        server = f"https://127.0.0.1:{self._port}"
        return write_private(
            self.directory / "kubeconfig", kubeconfig(server, self.beside.site.authority.ca.cert, pair=pair)
        )

    @cached_property
    def client(self) -> Client:
        """The administrator's client."""
        return Client(self.kubeconfig)

    @cached_property
    def _process(self) -> Process:
        site = self.beside.site
        serving = site.authority.issue("custom", "custom", hosts=["127.0.0.1"])
        flags = {
            "secure-port": self._port,
            "bind-address": "127.0.0.1",
            "tls-cert-file": serving.cert,
            "tls-private-key-file": serving.key,
            "client-ca-file": site.authority.ca.cert,
            "etcd-servers": f"http://127.0.0.1:{site.ports['etcd']}",
            "etcd-prefix": "/custom",
            **dict.fromkeys(
                ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"), self.beside.kubeconfig
            ),
            "authentication-skip-lookup": "true",
            # These watch kinds that the server beside has not, and would wait for them.
            "enable-priority-and-fairness": "false",
            "disable-admission-plugins": "ValidatingAdmissionPolicy,MutatingAdmissionPolicy,"
            "MutatingAdmissionWebhook,ValidatingAdmissionWebhook",
        }
        argv = [str(modern.program(_PROGRAM)), *(f"--{name}={value}" for name, value in flags.items())]
        return Process(_PROGRAM, argv, self.directory, dies_with_parent=True)

    def _await(self, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not self._ready():
            if self._process.pid() is None or time.monotonic() > deadline:
                raise NotReadyError(f"{_PROGRAM} is not ready; the end of its log:\n{self._process.tail()}")
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            self.client.get("/readyz")
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True
