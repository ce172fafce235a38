"""Our pods pass Pod Security "restricted", whatever the spec asks for; and the check itself finds every violation."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.trainingjob.pods.pod_security import violations
from tests.unit.trainingjob.rendered import RECIPE, WITH_STATUS, job_of, pod_of, resources

SPECS: dict[str, dict[str, Any]] = {
    "plain": {"launcher": "plain"},
    "gpus": {"numNodes": 2, "trainer": resources(**{"nvidia.com/gpu": 8})},
    "recipe": {
        "recipe": RECIPE,
        "output": {"uri": "pvc://artifacts/out"},
        "checkpoint": {"uri": "pvc://scratch/checkpoints"},
    },
    "volumes": {
        "pod": {
            "runAsUser": 1000,
            "fsGroup": 1000,
            "volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "b", "configMap": {"name": "c"}},
                {"name": "c", "secret": {"secretName": "c"}},
                {"name": "d", "emptyDir": {"medium": "Memory"}},
            ],
        }
    },
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_pods_are_taken_by_a_restricted_namespace(spec: dict[str, Any]) -> None:
    assert violations(pod_of(job_of(**copy.deepcopy(spec)), platform=WITH_STATUS)) == []


def _container(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod["spec"]["containers"][0]["securityContext"].update(fields)


def _pod(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda pod: pod["spec"].update(fields)


BREACHES: dict[str, Callable[[dict[str, Any]], None]] = {
    "privileged": _container(privileged=True),
    "escalation": _container(allowPrivilegeEscalation=True),
    "capabilities kept": _container(capabilities={}),
    "capability added": _container(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "root": _container(runAsUser=0),
    "may be root": _container(runAsNonRoot=False),
    "unconfined": _container(seccompProfile={"type": "Unconfined"}),
    "proc": _container(procMount="Unmasked"),
    "SELinux": _container(seLinuxOptions={"type": "spc_t"}),
    "AppArmor": _container(appArmorProfile={"type": "Unconfined"}),
    "host network": _pod(hostNetwork=True),
    "host PID": _pod(hostPID=True),
    "host IPC": _pod(hostIPC=True),
    "host path": _pod(volumes=[{"name": "h", "hostPath": {"path": "/"}}]),
    "no pod context": _pod(securityContext={}),
    "sysctl": _pod(
        securityContext={
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "kernel.msgmax", "value": "1"}],
        }
    ),
    "host port": lambda pod: pod["spec"]["containers"][0]["ports"][0].update(hostPort=80),
    "probe of another host": lambda pod: pod["spec"]["containers"][0].update(
        livenessProbe={"httpGet": {"host": "169.254.169.254"}}
    ),
    "init container": _pod(initContainers=[{"name": "i", "image": "x"}]),
    "AppArmor annotation": lambda pod: pod["metadata"].update(
        annotations={"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}
    ),
}


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
def test_the_check_finds_a_breach(breach: Callable[[dict[str, Any]], None]) -> None:
    pod = copy.deepcopy(pod_of(job_of()))
    breach(pod)
    assert violations(pod)
