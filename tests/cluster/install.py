"""Installs Slipway as a user would: `kubectl apply` of crds/ and of an overlay, with the images just built."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slipway.images import UNSET
from slipway.runtime import self_signed
from tests.cluster import trixie
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.paths import REPOSITORY
from tests.cluster.say import say

NAMESPACE = "slipway-system"
DEPLOYMENT = "deployment/slipway-operator"
# Servers before it do not know CEL rules in CRDs, and kubectl refuses to send them what they do not know.
CEL_SINCE = (1, 25)
# Servers before it serve policy/v1beta1 alone, with the same fields.
DISRUPTION_BUDGETS_SINCE = (1, 21)


def install(kubectl: Kubectl, images: Mapping[str, str], overlay: str = "cluster", namespace: str = NAMESPACE) -> None:
    """Apply CRDs and overlay, and wait until the operator is ready. Safe to repeat; changed images roll out."""
    apply_crds(kubectl)
    say("installing the operator")
    manifests = rendered(kubectl, images, overlay, namespace)
    kubectl.apply([document for document in manifests if document["kind"] == "Namespace"])
    provide_certificate(kubectl, namespace)
    kubectl.apply(manifests)
    wait_ready(kubectl, namespace)


def wait_ready(kubectl: Kubectl, namespace: str = NAMESPACE, deployment: str = DEPLOYMENT) -> None:
    """Wait until the operator is ready. Raises KubectlError with its last words."""
    try:
        kubectl("-n", namespace, "rollout", "status", deployment, "--timeout=180s")
    except KubectlError as error:
        raise KubectlError(f"{error}; the operator's last words:\n{_last_words(kubectl, namespace)}") from error


def provide_certificate(kubectl: Kubectl, namespace: str = NAMESPACE) -> None:
    """The Secret for the progress endpoint, made once: running jobs trust the operators that come later."""
    if not kubectl.exists("-n", namespace, "secret", self_signed.SECRET):
        made = self_signed.certificate((f"slipway-status.{namespace}.svc",))
        kubectl("-n", namespace, "create", "-f", "-", stdin=json.dumps(self_signed.secret(made)))


def apply_crds(kubectl: Kubectl) -> None:
    """Apply crds/ and wait until the server serves them."""
    old = kubectl.server_version() < CEL_SINCE
    if old:
        say("this server is older than 1.25: it drops the CRDs' CEL rules, and the operator checks them instead")
    kubectl("apply", *(["--validate=false"] if old else []), "-k", str(REPOSITORY / "crds"))
    for path in sorted((REPOSITORY / "crds").glob("*jobs.yaml")) + sorted((REPOSITORY / "crds").glob("*services.yaml")):
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=60s")


def rendered(
    kubectl: Kubectl, images: Mapping[str, str], overlay: str, namespace: str = NAMESPACE
) -> list[dict[str, Any]]:
    """The overlay's objects with `registry.invalid/slipway/<name>` images replaced by those that were built."""
    built = _built(kubectl, overlay) if namespace == NAMESPACE else _moved(overlay, namespace)
    documents = [_with_images(document, images) for document in yaml.safe_load_all(built)]
    for budget in (one for one in documents if one["kind"] == "PodDisruptionBudget"):
        if kubectl.server_version() < DISRUPTION_BUDGETS_SINCE:
            budget["apiVersion"] = "policy/v1beta1"
    return documents


def _built(kubectl: Kubectl, overlay: str) -> str:
    manifests = REPOSITORY / "manifests"
    folder = str(manifests / "overlays" / overlay)
    try:
        return kubectl("kustomize", folder)
    except KubectlError as error:
        # Debian's kubectl is of 2021 and takes no folders under `resources`.
        if "must be a file" not in str(error):
            raise
    if overlay == "cluster":  # holds nothing but the base, and the demo is not to need another kubectl
        return kubectl("kustomize", str(manifests / "base"))
    return subprocess.run(
        [trixie.program("kubectl"), "kustomize", folder], check=True, capture_output=True, text=True
    ).stdout


def _moved(overlay: str, namespace: str) -> str:
    """The overlay under a kustomization as a user writes it: one line names the namespace."""
    with tempfile.TemporaryDirectory() as folder:
        resource = os.path.relpath(REPOSITORY / "manifests" / "overlays" / overlay, Path(folder).resolve())
        own = {"resources": [resource], "namespace": namespace}
        Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(own))
        done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
        if done.returncode:
            program = [str(trixie.program("kubectl")), "kustomize", folder]
            done = subprocess.run(program, capture_output=True, text=True, check=True)
        return done.stdout


def _last_words(kubectl: Kubectl, namespace: str) -> str:
    try:
        return kubectl("-n", namespace, "logs", DEPLOYMENT, "--tail=20")
    except KubectlError as error:
        return str(error)


def uninstall(kubectl: Kubectl, overlay: str = "cluster", namespace: str = NAMESPACE) -> None:
    """Remove the operator; jobs and CRDs stay."""
    manifests = yaml.safe_dump_all(rendered(kubectl, {}, overlay, namespace))
    kubectl("delete", "-f", "-", "--ignore-not-found", "--wait=false", stdin=manifests)


def use_storage(kubectl: Kubectl, namespace: str = "default") -> None:
    """The claim that the examples name; $SLIPWAY_DEMO_STORAGE names another manifest for clusters that need one."""
    manifest = os.environ.get("SLIPWAY_DEMO_STORAGE") or str(REPOSITORY / "manifests" / "examples" / "storage.yaml")
    kubectl("-n", namespace, "apply", "-f", manifest)


def wait_gone(kubectl: Kubectl, *what: str, timeout: float = 120) -> None:
    """Wait until `kubectl get` finds nothing."""
    end = time.monotonic() + timeout
    while kubectl.exists(*what):
        if time.monotonic() > end:
            raise KubectlError(f"{' '.join(what)} is still there after {timeout:g} s")
        time.sleep(0.5)


def _with_images(node: Any, images: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _with_images(value, images) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_images(item, images) for item in node]
    if isinstance(node, str) and node.startswith(f"{UNSET}/"):
        return images.get(node.removeprefix(f"{UNSET}/").split(":")[0], node)
    return node


def example(name: str) -> Path:
    """A manifest of manifests/examples."""
    return REPOSITORY / "manifests" / "examples" / name
