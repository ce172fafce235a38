"""The command line of each control plane component: which flags, and why the unusual ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.local import audit
from tests.cluster.local.pki import Authority, Pair, kubeconfig, write_private
from tests.cluster.local.release import Release

SERVICES = "10.96.0.0/16"
_FIRST_SERVICE = "10.96.0.1"
_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")


@dataclass(frozen=True)
class Site:
    """Where one control plane lives: folder, address, ports, authority; and which Kubernetes it is."""

    directory: Path
    host: str
    ports: Mapping[str, int]
    authority: Authority
    release: Release

    @property
    def server(self) -> str:
        """The apiserver's address."""
        return f"https://{self.host}:{self.ports['apiserver']}"

    def write_kubeconfig(self, name: str, *, pair: Pair | None = None, token: str | None = None) -> Path:
        """Write a kubeconfig for this site's server and return its path."""
        content = kubeconfig(self.server, self.authority.ca.cert, pair=pair, token=token)
        return write_private(self.directory / name, content)


def etcd(site: Site, *, in_memory: bool) -> list[str]:
    """`in_memory`: on a tmpfs in a mount namespace of its own, so there is no fsync and it is gone with the process."""
    client, peer = (f"http://127.0.0.1:{site.ports[p]}" for p in ("etcd", "etcd-peer"))
    data = site.directory / "etcd"
    argv = [
        "etcd",
        *_flags(
            {
                "name": "etcd",
                "data-dir": data,
                "logger": "zap",
                "log-level": "warn",
                "quota-backend-bytes": 4 << 30,
                "listen-client-urls": client,
                "advertise-client-urls": client,
                "listen-peer-urls": peer,
                "initial-advertise-peer-urls": peer,
                "initial-cluster": f"etcd={peer}",
            }
        ),
    ]
    if not in_memory:
        return argv
    data.mkdir(parents=True, exist_ok=True)
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    mount = f'mount -t tmpfs -o mode=0700 etcd "{data}" && exec "$@"'
    return ["unshare", "--mount", *user, "sh", "-c", mount, "sh", *argv]


def apiserver(site: Site, *, audit_log: Path | None, service_accounts: bool, extra: Sequence[str]) -> list[str]:
    """`service_accounts`: False where no controller makes the default accounts that admission asks for."""
    issue, ca = site.authority.issue, site.authority.ca.cert
    hosts = [site.host, "127.0.0.1", "localhost", _FIRST_SERVICE, *_SERVICE_NAMES]
    serving = issue("kube-apiserver", "kube-apiserver", hosts=hosts)
    kubelet = issue("kubelet-client", "kube-apiserver-kubelet-client", ["system:masters"])
    proxy = issue("front-proxy-client", "front-proxy-client")
    tokens = site.authority.signing_key("service-accounts")
    flags: dict[str, object] = {
        "bind-address": site.host,
        "advertise-address": site.host,
        "secure-port": site.ports["apiserver"],
        "etcd-servers": f"http://127.0.0.1:{site.ports['etcd']}",
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": "true",
        **_certificates(serving, kubelet, proxy, ca),
        "kubelet-preferred-address-types": "InternalIP",  # the nodes' names don't resolve
        "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
        "service-account-key-file": tokens,
        "service-account-signing-key-file": tokens,
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    }
    if site.host.startswith("127."):
        flags["endpoint-reconciler-type"] = "none"  # a loopback address is no valid Endpoints entry
    if not service_accounts:
        flags["disable-admission-plugins"] = "ServiceAccount"
    if audit_log:
        policy = write_private(site.directory / "audit-policy.json", audit.POLICY)
        # blocking-strict: what is not in the log is not done.
        flags |= {"audit-policy-file": policy, "audit-log-path": audit_log, "audit-log-mode": "blocking-strict"}
    return [str(site.release.programs() / "kube-apiserver"), *_flags(flags), *extra]


def _certificates(serving: Pair, kubelet: Pair, proxy: Pair, ca: Path) -> dict[str, object]:
    return {
        "tls-cert-file": serving.cert,
        "tls-private-key-file": serving.key,
        "client-ca-file": ca,
        "kubelet-certificate-authority": ca,
        "kubelet-client-certificate": kubelet.cert,
        "kubelet-client-key": kubelet.key,
        "requestheader-client-ca-file": ca,
        "proxy-client-cert-file": proxy.cert,
        "proxy-client-key-file": proxy.key,
    }


def controller_manager(site: Site, *, nodes: bool, extra: Sequence[str]) -> list[str]:
    """`nodes`: whether real kubelets renew leases; without them the node lifecycle controller evicts everything."""
    ca = site.authority.ca
    flags = {
        **_closed(site),
        "secure-port": site.ports["controllers"],
        "root-ca-file": ca.cert,
        "cluster-signing-cert-file": ca.cert,
        "cluster-signing-key-file": ca.key,
        "service-account-private-key-file": site.authority.signing_key("service-accounts"),
        "service-cluster-ip-range": SERVICES,
        "controllers": "*" if nodes else "*,-nodelifecycle",
        # A lost node shows within half a minute; a machine whose cores are busy still renews its leases in that time.
        "node-monitor-grace-period": "25s",
        "node-monitor-period": "3s",
    }
    # One client for all controllers: an account for each, with its own token, would cost 3 s at every start.
    return [*_client_of(site, "kube-controller-manager", ["system:masters"]), *_flags(flags), *extra]


def scheduler(site: Site) -> list[str]:
    """Return kube-scheduler's command line."""
    return [*_client_of(site, "kube-scheduler"), *_flags({**_closed(site), "secure-port": site.ports["scheduler"]})]


def _closed(site: Site) -> dict[str, object]:
    """The port without TLS, which was open by default until it went with 1.24."""
    return {"port": 0} if site.release.minor < 24 else {}


def _client_of(site: Site, name: str, groups: Sequence[str] = ()) -> list[str]:
    pair = site.authority.issue(name, f"system:{name}", groups, hosts=["127.0.0.1"])
    flags = {
        "kubeconfig": site.write_kubeconfig(f"kubeconfig-{name}", pair=pair),
        "leader-elect": "false",  # one of each: an election would cost 2 s at start and a write every 2 s
        "bind-address": "127.0.0.1",
        "tls-cert-file": pair.cert,
        "tls-private-key-file": pair.key,
    }
    return [str(site.release.programs() / name), *_flags(flags)]


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]
