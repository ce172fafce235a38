"""An account with rights in one namespace, and what it forges there."""

from __future__ import annotations

from typing import Any

from tests.api.stage import JOBS, PODS, Object, Stage
from tests.cluster.rest import Client

NAME = "mallory"
# All that concerns pods; some tests give more.
PODS_ONLY = [{"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["*"]}]
_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}"


class Tenant:
    """Acts by the token of a service account that RBAC gives `rules` in its own namespace, and nothing elsewhere."""

    def __init__(self, stage: Stage, namespace: str) -> None:
        self.stage, self.namespace = stage, namespace
        admin = stage.plane.client
        admin.call("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": NAME}})
        self.may(*PODS_ONLY)
        subject = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME}
        binding = {"metadata": {"name": NAME}, "roleRef": role, "subjects": [subject]}
        admin.call("POST", f"{_RBAC.format(namespace)}/rolebindings", binding)
        self.client = Client(stage.plane.kubeconfig_for_service_account(namespace, NAME))

    def may(self, *rules: Object) -> None:
        """Give rights in its namespace."""
        roles = f"{_RBAC.format(self.namespace)}/roles"
        self.stage.plane.client.apply(roles, {"metadata": {"name": NAME}, "rules": []})
        self.stage.plane.client.patch(f"{roles}/{NAME}", {"rules": list(rules)})

    def forge(self, job: Object, name: str, *, index: int = 0, attempt: int = 0, owned: bool = True) -> Object:
        """Make a pod that says that it is a member of the job; with a finalizer, which holds off the collector."""
        about = job["metadata"]
        return self.pod(
            name,
            labels={
                "slipway.dev/kind": job["kind"],
                "slipway.dev/job-name": about["name"],
                "slipway.dev/job-uid": about["uid"],
                "slipway.dev/replica-type": "node",
                "slipway.dev/replica-index": str(index),
                "slipway.dev/attempt": str(attempt),
            },
            owners=[owner(job)] if owned else [],
        )

    def pod(
        self, name: str, labels: dict[str, str], owners: list[Object] | None = None, spec: Object | None = None
    ) -> Object:
        """Any pod that says it is managed by Slipway."""
        body = {
            "metadata": {
                "name": name,
                "labels": {"slipway.dev/managed": "true", **labels},
                "ownerReferences": owners or [],
                "finalizers": ["example.com/stays"],
            },
            "spec": {"containers": [{"name": "c", "image": "x"}], "restartPolicy": "Never", **(spec or {})},
        }
        return self.client.call("POST", PODS.format(self.namespace), body)

    def end(self, pod: Object, **terminated: Any) -> None:
        """As its kubelet would tell it: `exitCode`, `message`."""
        phase = "Failed" if terminated.get("exitCode") else "Succeeded"
        ended = {"finishedAt": "2026-01-01T00:00:00Z", "reason": "x", **terminated}
        containers = [{"name": "c", "image": "x", "imageID": "", "state": {"terminated": ended}}]
        self.tell(pod, phase=phase, containerStatuses=containers)

    def tell(self, pod: Object, **status: Any) -> None:
        """Write a pod's status."""
        path = f"{PODS.format(self.namespace)}/{pod['metadata']['name']}/status"
        self.client.patch(path, {"status": status})


def owner(obj: Object, **changed: Any) -> Object:
    """A controlling reference to any object, which anybody can write."""
    about = obj["metadata"]
    named = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": about["name"], "uid": about["uid"]}
    return {**named, "controller": True, **changed}


def looked_at(stage: Stage, namespace: str, name: str) -> Object:
    """Have the operator look at a job once more, after all that it was told so far; returns the job's status."""
    policy = stage.job(namespace, name)["spec"].get("runPolicy") or {}
    later = (policy.get("activeDeadlineSeconds") or 5000) + 1
    edited = stage.edit(namespace, name, runPolicy={**policy, "activeDeadlineSeconds": later})
    generation = edited["metadata"]["generation"]
    return stage.until_status(JOBS.format(namespace), name, lambda s: s.get("observedGeneration") == generation)
