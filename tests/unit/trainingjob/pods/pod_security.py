"""The Pod Security Standards' "restricted" profile, field by field, as published by Kubernetes.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, read for v1.36; every control of "baseline" and of
"restricted" for Linux pods is one function here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
PROFILES = {"RuntimeDefault", "Localhost"}


def violations(pod: Object) -> list[str]:
    """What the API server would refuse in a namespace that enforces "restricted"; empty when it takes the pod."""
    spec = pod["spec"]
    return [*_host(spec), *_volumes(spec), *_pod_context(spec), *_containers(spec), *_annotations(pod)]


def _host(spec: Object) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"spec.{field}"


def _volumes(spec: Object) -> Iterator[str]:
    for volume in spec.get("volumes") or []:
        if sources := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']}: {sources}"


def _pod_context(spec: Object) -> Iterator[str]:
    context = spec.get("securityContext") or {}
    for sysctl in context.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    yield from _common(context, "spec.securityContext")


def _containers(spec: Object) -> Iterator[str]:
    shared = spec.get("securityContext") or {}
    for key in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(key) or []:
            context, where = container.get("securityContext") or {}, f"{key} {container['name']}"
            yield from _common(context, where)
            yield from _container_only(container, context, where)
            if context.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
                yield f"{where}: runAsNonRoot"
            profile = context.get("seccompProfile", shared.get("seccompProfile")) or {}
            if profile.get("type") not in PROFILES:
                yield f"{where}: seccompProfile"


def _container_only(container: Object, context: Object, where: str) -> Iterator[str]:
    if context.get("privileged"):
        yield f"{where}: privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where}: allowPrivilegeEscalation"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield f"{where}: capabilities.drop"
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"{where}: capabilities.add"
    if context.get("procMount") not in (None, "Default"):
        yield f"{where}: procMount"
    yield from _host_access(container, where)


def _host_access(container: Object, where: str) -> Iterator[str]:
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"{where}: hostPort"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        for action in ("httpGet", "tcpSocket"):
            if ((container.get(probe) or {}).get(action) or {}).get("host"):
                yield f"{where}: {probe}.{action}.host"


def _common(context: Object, where: str) -> Iterator[str]:
    if context.get("runAsUser") == 0:
        yield f"{where}: runAsUser"
    if context.get("runAsNonRoot") is False:
        yield f"{where}: runAsNonRoot"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{where}: hostProcess"
    if (context.get("appArmorProfile") or {}).get("type") not in (None, "RuntimeDefault", "Localhost"):
        yield f"{where}: appArmorProfile"
    linux = context.get("seLinuxOptions") or {}
    if linux.get("type") not in SELINUX_TYPES or linux.get("user") or linux.get("role"):
        yield f"{where}: seLinuxOptions"
    if "seccompProfile" in context and context["seccompProfile"].get("type") not in PROFILES:
        yield f"{where}: seccompProfile"


def _annotations(pod: Object) -> Iterator[str]:
    for key, value in (pod["metadata"].get("annotations") or {}).items():
        profile = key.startswith("container.apparmor.security.beta.kubernetes.io/")
        if profile and value != "runtime/default" and not value.startswith("localhost/"):
            yield f"annotation {key}"
