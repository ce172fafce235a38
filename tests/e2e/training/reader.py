"""What is in the examples' claim, as a pod of the test's own sees it."""

from __future__ import annotations

from tests.e2e.conftest import Job, Namespace

CLAIM = "slipway-artifacts"


def digests(namespace: Namespace, image: str, *paths: str) -> dict[str, str]:
    """sha256 in hex of each file, named from the claim on (`<claim>/<file>`). `image`: any with a shell."""
    namespace.apply(_pod(image, paths))
    namespace.until("pod", "reader", lambda p: p["status"].get("phase") == "Succeeded", "Succeeded", 60)
    lines = [line.split() for line in namespace.kubectl("logs", "reader").splitlines()]
    return {path.removeprefix("/mnt/"): digest for digest, path in lines}


def _pod(image: str, paths: tuple[str, ...]) -> Job:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "artifacts", "persistentVolumeClaim": {"claimName": CLAIM}}],
            "containers": [
                {
                    "name": "reader",
                    "image": image,
                    "command": ["sha256sum", *(f"/mnt/{path}" for path in paths)],
                    "volumeMounts": [{"name": "artifacts", "mountPath": f"/mnt/{CLAIM}"}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }
