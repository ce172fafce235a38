"""A Kubernetes control plane of its own: etcd, kube-apiserver, kube-controller-manager and, for nodes, kube-scheduler.

Two callers: tests/api start one for themselves, without nodes, in a folder that pytest removes; the local cluster
starts one that survives the command and has real kubelets. tests/cluster/__init__.py shows how a test uses it.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.local import components
from tests.cluster.local.audit import AuditLog
from tests.cluster.local.components import Site
from tests.cluster.local.pki import Authority
from tests.cluster.local.process import Process
from tests.cluster.local.release import Release, chosen
from tests.cluster.rest import ApiError, Client, Object
from tests.ports import free_ports

_PORTS = ("etcd", "etcd-peer", "controllers", "scheduler", "apiserver")


class NotReadyError(Exception):
    """A component did not come up; the text holds the end of its log."""


@dataclass
class ControlPlane:
    """One control plane in `directory`. Use it as a context manager, or call `start` and `stop`.

    `host`, `port`: where the apiserver listens; port 0 takes a free one.
    `controller_manager`: extra flags such as `--kube-api-qps=1000`; None starts without one (then there are no default
    service accounts and no garbage collection).
    `apiserver_flags`: extra flags for kube-apiserver.
    `scheduler`: also run kube-scheduler and the node lifecycle controller: for real nodes.
    `audit`: keep an audit log, read it with `audit_events`.
    `lasting`: False = the processes die with the thread that called `start`, and etcd keeps its data in memory;
    True = they run on after this process, and etcd keeps its data in `directory`.
    `release`: which Kubernetes.
    """

    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    controller_manager: Sequence[str] | None = ()
    apiserver_flags: Sequence[str] = ()
    scheduler: bool = False
    audit: bool = False
    lasting: bool = False
    release: Release = field(default_factory=chosen)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @cached_property
    def site(self) -> Site:
        """Addresses and certificates, chosen once and remembered in the folder."""
        self.directory.mkdir(parents=True, exist_ok=True)
        remembered = self.directory / "ports.json"
        if not remembered.exists():
            ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
            remembered.write_text(json.dumps(ports | ({"apiserver": self.port} if self.port else {})))
        ports = json.loads(remembered.read_text())
        site = Site(self.directory, self.host, ports, Authority(self.directory / "pki"), self.release)
        site.write_kubeconfig("kubeconfig", pair=site.authority.issue("admin", "slipway-admin", ["system:masters"]))
        return site

    @property
    def server(self) -> str:
        """The apiserver's address."""
        return self.site.server

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig for the cluster's administrator."""
        return self.site.directory / "kubeconfig"

    @cached_property
    def _audit(self) -> AuditLog:
        return AuditLog(self.directory / "audit.log")

    @cached_property
    def client(self) -> Client:
        """The administrator's client."""
        return Client(self.kubeconfig)

    def start(self) -> None:
        """Start what does not run yet; return when the server takes objects (5 to 8 s). Raises NotReadyError."""
        self.release.prepare()
        for _ in range(2):
            # The second round brings back a controller manager that gave up waiting for a slow apiserver (after 10 s).
            for process in self.processes():
                process.start()
                if process.name == "kube-apiserver":
                    self._await("kube-apiserver", self._apiserver_listens)
            self._await("kube-apiserver", self._apiserver_ready)
        if self.controller_manager is not None:
            self._await("kube-controller-manager", self._default_account_ready)

    def stop(self) -> None:
        """End every process. Data is thrown away with the folder, so nothing needs to drain."""
        for process in reversed(self.processes()):
            process.stop()

    def processes(self) -> list[Process]:
        """Return the components in the order they start."""
        accounts = self.controller_manager is not None
        audit_log = self._audit.path if self.audit else None
        commands = {
            "etcd": components.etcd(self.site, in_memory=not self.lasting),
            "kube-apiserver": components.apiserver(
                self.site, audit_log=audit_log, service_accounts=accounts, extra=self.apiserver_flags
            ),
        }
        if self.controller_manager is not None:
            commands["kube-controller-manager"] = components.controller_manager(
                self.site, nodes=self.scheduler, extra=self.controller_manager
            )
        if self.scheduler:
            commands["kube-scheduler"] = components.scheduler(self.site)
        return [
            Process(name, argv, self.directory, dies_with_parent=not self.lasting) for name, argv in commands.items()
        ]

    def process(self, name: str) -> Process:
        """Return one component, to kill or restart it: `process("kube-apiserver").stop()`, then `start()`."""
        return next(p for p in self.processes() if p.name == name)

    def kubeconfig_for_user(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Write a kubeconfig for a user (client certificate) who holds only what RBAC gives him; return its path."""
        pair = self.site.authority.issue(f"user-{user.replace(':', '-').replace('/', '-')}", user, groups)
        return self.site.write_kubeconfig(f"kubeconfig-{pair.cert.stem}", pair=pair)

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig that carries a fresh token of an existing service account; return its path."""
        token = self.token(namespace, name)
        return self.site.write_kubeconfig(f"kubeconfig-sa-{namespace}-{name}", token=token)

    def token(
        self, namespace: str, name: str, audiences: Sequence[str] = (), pod: Object | None = None, seconds: int = 3600
    ) -> str:
        """Mint a service account token by TokenRequest, bound to `pod` (an object) if given, as the kubelet does."""
        spec: Object = {"expirationSeconds": seconds}
        if audiences:
            spec["audiences"] = list(audiences)
        if pod:
            meta = pod["metadata"]
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = self.client.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", body)
        return str(answer["status"]["token"])

    def audit_events(self, user_agent: str = "") -> list[Object]:
        """Return the audited requests whose user agent contains `user_agent`, oldest first; watches when they end."""
        return [e for e in self._audit.finished() if user_agent in e.get("userAgent", "")]

    def _await(self, name: str, ready: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            dead = [p for p in self.processes() if p.pid() is None and p.name in {name, "etcd"}]
            if dead or time.monotonic() > deadline:
                culprit = dead[0] if dead else self.process(name)
                why = "ended" if dead else f"is not ready after {seconds:.0f} s"
                raise NotReadyError(f"{culprit.name} {why}; the end of {culprit.log}:\n{culprit.tail()}")
            time.sleep(0.05)

    def _apiserver_listens(self) -> bool:
        try:
            socket.create_connection((self.host, self.site.ports["apiserver"]), timeout=5).close()
        except OSError:
            return False
        return True

    def _apiserver_ready(self) -> bool:
        try:
            self.client.get("/readyz")
        except (ApiError, OSError, http.client.HTTPException):
            return False
        return True

    def _default_account_ready(self) -> bool:
        try:
            account = self.client.get("/api/v1/namespaces/default/serviceaccounts/default")
        except ApiError:
            return False
        # Until 1.24 its pods were refused before it had a token in a Secret.
        return self.release.minor >= 24 or bool(account.get("secrets"))
