"""A Kubernetes control plane of its own: etcd, kube-apiserver, kube-controller-manager and, for real nodes, kube-scheduler.

Two callers: tests/api start one for themselves, without nodes, in a folder that pytest removes; the local cluster starts one
that survives the command and has real kubelets. See tests/cluster/__init__.py for how a test uses it.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.local import debian
from tests.cluster.local.pki import Authority, Pair, kubeconfig, write_private
from tests.cluster.local.process import Process
from tests.cluster.rest import ApiError, Client, Object

SERVICES = "10.96.0.0/16"
_FIRST_SERVICE = "10.96.0.1"
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata"}],
}


class NotReadyError(Exception):
    """A component did not come up; the text holds the end of its log."""


@dataclass
class ControlPlane:
    """One control plane in `directory`. Use it as a context manager, or call `start` and `stop`.

    `host`, `port`: where the apiserver listens; port 0 takes a free one.
    `controller_manager`: extra flags such as `--kube-api-qps=1000`; None starts without one (then no default service
    accounts, no garbage collection). The node lifecycle controller is off unless `scheduler`: nobody renews node leases.
    `scheduler`: also run kube-scheduler. `audit`: keep an audit log, read it with `audit_events`.
    `lasting`: False = the processes die with the calling thread's process and etcd keeps its data in memory;
    True = they run on after this process, and etcd keeps its data in `directory`.
    """

    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    controller_manager: Sequence[str] | None = ()
    apiserver_flags: Sequence[str] = ()
    scheduler: bool = False
    audit: bool = False
    lasting: bool = False
    _ports: dict[str, int] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @cached_property
    def authority(self) -> Authority:
        """The certificate authority of this control plane."""
        return Authority(self.directory / "pki")

    @property
    def server(self) -> str:
        """The apiserver's address."""
        return f"https://{self.host}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig for the cluster's administrator."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object per finished request, where `audit` is set."""
        return self.directory / "audit.log"

    @cached_property
    def client(self) -> Client:
        """The administrator's client."""
        return Client(self.kubeconfig)

    def start(self) -> None:
        """Start what does not run yet and return when the server is ready for objects: 4 to 8 s. Raises NotReadyError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._take_ports()
        for process in self.processes():
            process.start()
            if process.name == "kube-apiserver":
                self._await("kube-apiserver", self._apiserver_ready)
        if self.controller_manager is not None:
            self._await("kube-controller-manager", self._default_account_ready)

    def stop(self) -> None:
        """End every process. Data is thrown away with the folder, so nothing needs to drain."""
        for process in reversed(self.processes()):
            process.stop()

    def processes(self) -> list[Process]:
        """Return the components in the order they start."""
        found = [self._etcd(), self._apiserver()]
        if self.controller_manager is not None:
            found.append(self._controllers(self.controller_manager))
        if self.scheduler:
            found.append(self._scheduler())
        return found

    def process(self, name: str) -> Process:
        """Return one component, to kill or restart it in a test: `process("kube-apiserver").stop()`, then `start()`."""
        return next(p for p in self.processes() if p.name == name)

    def kubeconfig_for_user(self, user: str, groups: Sequence[str] = ()) -> Path:
        """Write a kubeconfig for a user (client certificate) who holds only what RBAC gives him; return its path."""
        pair = self.authority.issue(f"user-{user.replace(':', '-').replace('/', '-')}", user, groups)
        return self._write_kubeconfig(f"kubeconfig-{pair.cert.stem}", pair=pair)

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """Write a kubeconfig that carries a fresh token of an existing service account; return its path."""
        return self._write_kubeconfig(f"kubeconfig-sa-{namespace}-{name}", token=self.token(namespace, name))

    def token(self, namespace: str, name: str, audiences: Sequence[str] = (), pod: Object | None = None, seconds: int = 3600) -> str:
        """Mint a service account token by TokenRequest, bound to `pod` (a pod object) if given, as the kubelet would."""
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
        """Return the audited requests whose user agent contains `user_agent`, oldest first. Watches appear when they end."""
        lines = self.audit_log.read_text().splitlines() if self.audit_log.exists() else []
        events = [json.loads(line) for line in lines]
        return [e for e in events if user_agent in e.get("userAgent", "")]

    def _etcd(self) -> Process:
        client, peer = (f"http://127.0.0.1:{self._ports[p]}" for p in ("etcd", "etcd-peer"))
        data = self.directory / "etcd"
        argv = [
            "etcd", "--name=etcd", f"--data-dir={data}", "--logger=zap", "--log-level=warn", "--quota-backend-bytes=4294967296",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=etcd={peer}",
        ]  # fmt: skip
        if not self.lasting:
            # In memory, in a mount namespace of its own: no fsync to wait for, and gone with the process.
            data.mkdir(parents=True, exist_ok=True)
            flags = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
            argv = ["unshare", *flags, "sh", "-c", f'mount -t tmpfs -o mode=0700 etcd "{data}" && exec "$@"', "sh", *argv]
        return self._process("etcd", argv)

    def _apiserver(self) -> Process:
        issue = self.authority.issue
        serving = issue("kube-apiserver", "kube-apiserver", hosts=[
            self.host, "127.0.0.1", "localhost", _FIRST_SERVICE, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ])  # fmt: skip
        kubelet = issue("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
        proxy = issue("front-proxy-client", "front-proxy-client")
        ca, accounts = self.authority.ca.cert, self.authority.signing_key("service-accounts")
        argv = [
            str(debian.kubernetes() / "kube-apiserver"), f"--bind-address={self.host}", f"--advertise-address={self.host}",
            f"--secure-port={self.port}", f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
            f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            f"--tls-cert-file={serving.cert}", f"--tls-private-key-file={serving.key}", f"--client-ca-file={ca}",
            f"--kubelet-certificate-authority={ca}", f"--kubelet-client-certificate={kubelet.cert}",
            f"--kubelet-client-key={kubelet.key}", "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={accounts}", f"--service-account-signing-key-file={accounts}",
            f"--requestheader-client-ca-file={ca}", "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={proxy.cert}", f"--proxy-client-key-file={proxy.key}",
            "--enable-admission-plugins=NodeRestriction",
        ]  # fmt: skip
        if self.host.startswith("127."):
            argv.append("--endpoint-reconciler-type=none")  # a loopback address is no valid Endpoints entry
        if self.controller_manager is None:
            argv.append("--disable-admission-plugins=ServiceAccount")  # nobody makes the default accounts that it asks for
        if self.audit:
            policy = write_private(self.directory / "audit-policy.json", _AUDIT_POLICY)
            argv += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}", "--audit-log-mode=blocking-strict"]
        return self._process("kube-apiserver", [*argv, *self.apiserver_flags])

    def _controllers(self, flags: Sequence[str]) -> Process:
        ca = self.authority.ca
        argv = [
            *self._component("kube-controller-manager"), "--port=0", f"--secure-port={self._ports['controllers']}",
            f"--root-ca-file={ca.cert}", f"--cluster-signing-cert-file={ca.cert}", f"--cluster-signing-key-file={ca.key}",
            f"--service-account-private-key-file={self.authority.signing_key('service-accounts')}",
            "--use-service-account-credentials=true", f"--service-cluster-ip-range={SERVICES}",
            "--controllers=*" if self.scheduler else "--controllers=*,-nodelifecycle",
        ]  # fmt: skip
        return self._process("kube-controller-manager", [*argv, *flags])

    def _scheduler(self) -> Process:
        return self._process(
            "kube-scheduler", [*self._component("kube-scheduler"), "--port=0", f"--secure-port={self._ports['scheduler']}"]
        )

    def _component(self, name: str) -> list[str]:
        config = self._write_kubeconfig(f"kubeconfig-{name}", pair=self.authority.issue(name, f"system:{name}"))
        # One of each: an election would only cost 2 s at start and a write every 2 s.
        return [str(debian.kubernetes() / name), f"--kubeconfig={config}", "--leader-elect=false", "--bind-address=127.0.0.1"]

    def _process(self, name: str, argv: Sequence[str]) -> Process:
        return Process(name, argv, self.directory, dies_with_parent=not self.lasting)

    def _write_kubeconfig(self, name: str, *, pair: Pair | None = None, token: str | None = None) -> Path:
        content = kubeconfig(self.server, self.authority.ca.cert, pair=pair, token=token)
        return write_private(self.directory / name, content)

    def _take_ports(self) -> None:
        """Choose free ports once and remember them in the folder, so that a second `start` finds the same processes."""
        remembered = self.directory / "ports.json"
        if remembered.exists():
            self._ports = json.loads(remembered.read_text())
        else:
            self._ports = dict(zip(("etcd", "etcd-peer", "controllers", "scheduler", "apiserver"), _free_ports(5), strict=True))
            remembered.write_text(json.dumps(self._ports))
        self.port = self.port or self._ports["apiserver"]
        admin = self.authority.issue("admin", "slipway-admin", ["system:masters"])
        self._write_kubeconfig("kubeconfig", pair=admin)

    def _await(self, name: str, ready: Any, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            dead = [p for p in self.processes() if p.pid() is None and p.name in {name, "etcd"}]
            if dead or time.monotonic() > deadline:
                culprit = dead[0] if dead else self.process(name)
                why = "ended" if dead else f"is not ready after {seconds:.0f} s"
                raise NotReadyError(f"{culprit.name} {why}; the end of {culprit.log}:\n{culprit.tail()}")
            time.sleep(0.05)

    def _apiserver_ready(self) -> bool:
        try:
            self.client.get("/readyz?verbose=0")
        except ApiError as error:
            return error.code == 200
        except (OSError, ssl.SSLError, http.client.HTTPException):
            return False
        return True

    def _default_account_ready(self) -> bool:
        try:
            return bool(self.client.get("/api/v1/namespaces/default/serviceaccounts/default").get("secrets"))
        except ApiError:
            return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def remove(directory: Path) -> None:
    """Delete a stopped control plane's folder."""
    shutil.rmtree(directory, ignore_errors=True)
