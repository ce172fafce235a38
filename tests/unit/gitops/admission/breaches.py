"""Ways around manifests/admission-policy, each with what refuses it: the operator's account in other hands.

Every breach is an object that the operator makes, with one thing changed. Tried in Python by
test_admission_breaches.py, and on a real server by tests/api/modern.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Change = Callable[[Object], None]


@dataclass(frozen=True)
class Breach:
    """One way: the kind it is tried with, what is changed of an object that the operator makes, and the refusal."""

    name: str
    kind: str
    change: Change
    words: str
    # Where it is an edit of an object that is there, and not a new one.
    edits: bool = False


def _owner(**fields: Any) -> Change:
    return lambda obj: obj["metadata"]["ownerReferences"][0].update(fields)


def _label(key: str, value: str | None) -> Change:
    def change(obj: Object) -> None:
        if value is None:
            del obj["metadata"]["labels"][f"slipway.dev/{key}"]
        else:
            obj["metadata"]["labels"][f"slipway.dev/{key}"] = value

    return change


def _spec(**fields: Any) -> Change:
    return lambda obj: obj["spec"].update(copy.deepcopy(fields))


def _pod_of(obj: Object) -> Object:
    pod: Object = obj if obj["kind"] == "Pod" else obj["spec"]["template"]
    return pod


def _pod(**fields: Any) -> Change:
    return lambda obj: _pod_of(obj)["spec"].update(copy.deepcopy(fields))


def _container(**fields: Any) -> Change:
    return lambda obj: _pod_of(obj)["spec"]["containers"][0].update(copy.deepcopy(fields))


def _volume(**source: Any) -> Change:
    return lambda obj: _pod_of(obj)["spec"].setdefault("volumes", []).append({"name": "more", **copy.deepcopy(source)})


def _escalates(obj: Object) -> None:
    _pod_of(obj)["spec"]["containers"][0]["securityContext"] = {"privileged": True}


def _init(obj: Object) -> None:
    _pod_of(obj)["spec"]["initContainers"] = [{"name": "i", "image": "x", "securityContext": {"privileged": True}}]


def _unlabelled(obj: Object) -> None:
    for key in ("slipway.dev/managed", "slipway.dev/kind", "slipway.dev/job-name"):
        del obj["spec"]["template"]["metadata"]["labels"][key]


def _strips_owner(obj: Object) -> None:
    del obj["metadata"]["ownerReferences"]


_MINE = "may write only what belongs"
OWNERS = (
    Breach("no controller", "ConfigMap", _owner(controller=False), _MINE),
    Breach("another version of our group", "ConfigMap", _owner(apiVersion="slipway.dev/v9"), _MINE),
    Breach("a group that begins like ours", "ConfigMap", _owner(apiVersion="slipway.dev.example.com/v1"), _MINE),
    Breach("a kind that is none of ours", "ConfigMap", _owner(kind="Anything"), _MINE),
    Breach("no owner", "Job", _strips_owner, _MINE),
    Breach("the owner taken off later", "ConfigMap", _strips_owner, _MINE, edits=True),
    Breach("given to another one later", "ConfigMap", _owner(uid="another"), "never goes to another", edits=True),
    Breach("another one's UID", "ConfigMap", _owner(uid="another"), "must say to whom it belongs"),
    Breach("no label of ours", "Pod", _label("managed", None), "must say to whom it belongs"),
    Breach("another one's label", "Pod", _label("job-uid", "another"), "must say to whom it belongs"),
    Breach("a name of somebody else's", "Service", lambda o: o["metadata"].update(name="database"), "name must begin"),
    Breach("another Secret", "Secret", lambda o: o["metadata"].update(name="mpi-tls"), "is the key of a"),
)
LEADS = (
    Breach("a load balancer", "Service", _spec(type="LoadBalancer"), "type ClusterIP only"),
    Breach("a port of every node", "Service", _spec(type="NodePort"), "type ClusterIP only"),
    Breach("an address of somebody else's", "Service", _spec(externalIPs=["192.0.2.1"]), "no externalIPs"),
    Breach("a name elsewhere", "Service", _spec(type="ExternalName", externalName="example.com"), "no externalName"),
    Breach("others' pods", "Service", _spec(selector={"app": "database"}), "selects pods of its own"),
    Breach("another job's pods", "Service", _spec(selector={"slipway.dev/job-uid": "x"}), "selects pods of its own"),
    Breach("led away later", "Service", _spec(selector={"app": "database"}), "selects pods of its own", edits=True),
    Breach(
        "somebody else's scale",
        "HorizontalPodAutoscaler",
        _spec(scaleTargetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "database"}),
        "scales the resource to which",
    ),
    Breach(
        "others' drains",
        "PodDisruptionBudget",
        _spec(selector={"matchLabels": {"app": "database"}}),
        "for pods of its own",
    ),
)
_STREET = {"backendRefs": [{"name": "s", "port": 80}]}
ROUTES = tuple(
    Breach(name, kind, _spec(rules=[{**_STREET, **rule}]), "leads to Services of its own")
    for kind in ("HTTPRoute", "GRPCRoute")
    for name, rule in {
        "another namespace's backend": {"backendRefs": [{"name": "s", "namespace": "other", "port": 80}]},
        "somebody else's Service": {"backendRefs": [{"name": "database", "port": 80}]},
        "a bucket": {"backendRefs": [{"name": "s", "group": "example.com", "kind": "Bucket"}]},
        "a copy for somebody else": {"filters": [{"type": "RequestMirror"}]},
        "a filter on the way": {"backendRefs": [{"name": "s", "filters": [{"type": "ExtensionRef"}]}]},
    }.items()
)
_MANIFEST = {"secretName": "database"}
_PROJECTED = {"sources": [{"secret": {"name": "database"}}]}
_TOKEN = {"sources": [{"serviceAccountToken": {"audience": "https://kubernetes.default.svc", "path": "t"}}]}
_REFERENCE = {"secretKeyRef": {"name": "database", "key": "password"}}
_CSI = {"driver": "secrets-store.csi.k8s.io"}
_CLAIM = {
    "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
}
PODS = tuple(
    Breach(name, kind, change, words)
    for kind in ("Pod", "Deployment", "Job")
    for name, change, words in (
        ("a privileged container", _escalates, "no privileged container"),
        ("a privileged init container", _init, "no privileged container"),
        ("the node's files", _volume(hostPath={"path": "/"}), "no volume of the host"),
        ("the node's processes", _pod(hostPID=True), "no process and no memory"),
        ("a token of the account", _pod(automountServiceAccountToken=True), "automountServiceAccountToken must be"),
        ("a projected token for the API server", _volume(projected=_TOKEN), "a token may be for"),
        ("a service account with more rights", _pod(serviceAccountName="admin"), "a service account that"),
        ("the same by its old name", _pod(serviceAccount="admin"), "a service account that"),
        ("a Secret as a volume", _volume(secret=_MANIFEST), "a Secret that is not open"),
        ("a Secret in a projected volume", _volume(projected=_PROJECTED), "a Secret that is not open"),
        ("a Secret's key", _container(env=[{"name": "A", "valueFrom": _REFERENCE}]), "a Secret that is not open"),
        ("all of a Secret", _container(envFrom=[{"secretRef": {"name": "database"}}]), "a Secret that is not open"),
        ("a secret store", _volume(csi=_CSI), "no volume of kind csi"),
        ("a claim of its own", _volume(ephemeral=_CLAIM), "no volume of kind csi, ephemeral"),
        ("a node past the scheduler", _pod(nodeName="master"), "no node past the scheduler"),
        ("the system's priority", _pod(priorityClassName="system-node-critical"), "no priority of the system"),
        (
            "a hook of another host",
            _container(lifecycle={"preStop": {"httpGet": {"host": "169.254.169.254", "port": 80}}}),
            "no hook of another host",
        ),
    )
)
TEMPLATES = tuple(
    Breach("pods without our label", kind, _unlabelled, "carry the labels") for kind in ("Deployment", "Job")
)
LATER = tuple(
    Breach(f"{breach.name}, later", breach.kind, breach.change, breach.words, edits=True)
    for breach in (*PODS, *TEMPLATES)
    if breach.kind == "Deployment"
)
ALL = (*OWNERS, *LEADS, *ROUTES, *PODS, *TEMPLATES, *LATER)
