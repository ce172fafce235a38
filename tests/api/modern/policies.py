"""manifests/admission-policy on a server: what tests.unit.gitops.admission.policy answers in Python."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from slipway.reconcile.patch import merge_patch
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.rest import ApiError, Client
from tests.unit.gitops.admission.policy import Request

Object = dict[str, Any]
_PLACES = {
    "Pod": "api/v1/namespaces/{}/pods",
    "Service": "api/v1/namespaces/{}/services",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Secret": "api/v1/namespaces/{}/secrets",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "Job": "apis/batch/v1/namespaces/{}/jobs",
    "PodDisruptionBudget": "apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "HorizontalPodAutoscaler": "apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
    "TrainingJob": "apis/slipway.dev/v1alpha1/namespaces/{}/trainingjobs",
}
SERVED = frozenset(_PLACES)
ADMINISTRATOR = "slipway-admin"


class Court:
    """Asks the server as different users. Nothing stays."""

    def __init__(self, plane: ControlPlane) -> None:
        self._administrator = plane.client
        self._plane = plane

    def refusals(self, request: Request, namespace: str = "team") -> str:
        """What the server says against it, "" if nothing. `request.namespace` is not looked at: name one."""
        subject = request.new or request.old
        assert subject is not None
        where = f"/{_PLACES[subject['kind']].format(namespace)}"
        asks = self._client(request.user)
        if request.old is None:
            return _said(asks, "POST", f"{where}?dryRun=All", _in(request.new, namespace))
        stored = self._store(where, _in(request.old, namespace))
        one = f"{where}/{stored['metadata']['name']}"
        try:
            if request.new is None:
                return _said(asks, "DELETE", f"{one}?dryRun=All", None)
            return _said(asks, "PATCH", f"{one}?dryRun=All", _difference(request.old, request.new))
        finally:
            self._administrator.call("DELETE", f"{one}?gracePeriodSeconds=0&propagationPolicy=Background")

    def _store(self, where: str, body: Object) -> Object:
        stored = self._administrator.call("POST", where, body)
        if status := body.get("status"):
            one = f"{where}/{stored['metadata']['name']}"
            stored = self._administrator.patch(f"{one}/status", {"status": status})
        return stored

    @cache  # noqa: B019 - one court a session
    def _client(self, user: str) -> Client:
        """All rights by RBAC: what is refused, the policies refuse."""
        return Client(self._plane.kubeconfig_for_user(user, ["system:masters"]))


def _in(body: Object | None, namespace: str) -> Object:
    placed = copy.deepcopy(body or {})
    placed["metadata"]["namespace"] = namespace
    placed["metadata"].setdefault("name", "x")
    if placed["kind"] == "Pod":
        placed["spec"].setdefault("serviceAccountName", "default")  # as the server fills it in
    return placed


def _difference(old: Object, new: Object) -> Object:
    """The merge patch, with a change that every kind allows: a patch without one is no update."""
    patch = merge_patch(_edited(old), _edited(new))
    patch.setdefault("metadata", {})["annotations"] = {"edited": "true"}
    # A list is replaced whole by what is said of it, and an empty one takes the owners off.
    patch["metadata"]["ownerReferences"] = new["metadata"].get("ownerReferences")
    return patch


def _edited(obj: Object) -> Object:
    metadata = {"labels": obj["metadata"].get("labels") or {}}
    return {"metadata": metadata, **({"spec": obj["spec"]} if "spec" in obj else {})}


def _said(client: Client, method: str, path: str, body: Object | None) -> str:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    try:
        client.call(method, path, body, kind)
    except ApiError as error:
        # Some breaches make no valid pod: the server refuses those without asking anybody.
        if not any(words in str(error) for words in ("ValidatingAdmissionPolicy", "PodSecurity", "is invalid")):
            raise
        return str(error)
    return ""
