"""Fetches a QuantizationJob's report from where it lies: a file, a claim that a running pod mounts, or fsspec.
Draws that of a SearchJob, whose status says all of it.

Called by `slipway report`. What cannot be reached from here is said, with the command that reaches it.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway.cli.cluster import Cluster, ClusterError

Object = Mapping[str, Any]
# With its registry: what a bare name means is up to the node.
READER = "docker.io/library/busybox:stable"


class UnreachableError(Exception):
    """Report that cannot be fetched from here; the text says why, and what to run instead."""


def uri_of(obj: Object) -> str:
    """URI of report.html. Raises UnreachableError while there is none."""
    report = (obj.get("status") or {}).get("report") or {}
    if not report.get("uri"):
        name = f"{obj['kind']} {obj['metadata']['name']}"
        raise UnreachableError(f"{name} has no report (yet): `slipway status` says how far it is")
    return str(report["uri"])


def fetch(cluster: Cluster, obj: Object) -> bytes:
    """Content of report.html. Raises UnreachableError, ClusterError."""
    if obj["kind"] == "SearchJob":
        return drawn(obj)
    uri = uri_of(obj)
    scheme, _, rest = uri.partition("://")
    if scheme == "pvc":
        return _from_claim(cluster, *_claim_and_path(rest))
    if scheme == "file":
        return _from_file(uri, Path(rest))
    return _from_fsspec(uri)


def drawn(search: Object) -> bytes:
    """Page of a SearchJob's trials, drawn here by `python -m workloads bench front`. Raises UnreachableError."""
    with tempfile.TemporaryDirectory() as folder:
        given, page = Path(folder) / "search.json", Path(folder) / "report.html"
        given.write_text(json.dumps(search))
        argv = [sys.executable, "-m", "workloads", "bench", "front", "--search", str(given), "--output", str(page)]
        # What is found here is found there.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
        if done.returncode:
            words = done.stderr.strip().splitlines()[-1:] or ["it ended without a word"]
            raise UnreachableError(f"the page cannot be drawn here: {words[0].removeprefix('error: ')}")
        return page.read_bytes()


def _from_file(uri: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreachableError(f"{uri} lies on the node that wrote it, and not here: {error.strerror}") from error


def _from_fsspec(uri: str) -> bytes:
    try:
        import fsspec
    except ImportError:
        raise UnreachableError(f"{uri}: install fsspec and its driver, or fetch it with your own client") from None
    try:
        with fsspec.open(uri, "rb") as file:
            content: bytes = file.read()
            return content
    except (OSError, ImportError, ValueError) as error:
        raise UnreachableError(f"{uri}: {error}") from error


def _claim_and_path(rest: str) -> tuple[str, str]:
    claim, _, path = rest.partition("/")
    return claim, path


def _from_claim(cluster: Cluster, claim: str, path: str) -> bytes:
    """Read it through a pod that has the claim mounted: a server of the model usually has."""
    pods = json.loads(cluster.run("get", "pods", "--field-selector=status.phase=Running", "-o", "json"))["items"]
    for pod in pods:
        for container, mount in _mounts(pod, claim):
            try:
                words = ("exec", pod["metadata"]["name"], "-c", container, "--", "cat", f"{mount}/{path}")
                return cluster.run(*words).encode()
            except ClusterError:
                continue
    raise UnreachableError(
        f"no running pod mounts the claim {claim}; start one, and read the file:\n\n{reader(claim, path)}"
    )


def _mounts(pod: Object, claim: str) -> list[tuple[str, str]]:
    """(container, folder) of each place where the whole claim is mounted."""
    volumes = {
        volume["name"]
        for volume in pod["spec"].get("volumes") or []
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
    }
    return [
        (container["name"], mount["mountPath"].rstrip("/"))
        for container in pod["spec"]["containers"]
        for mount in container.get("volumeMounts") or []
        if mount["name"] in volumes and not mount.get("subPath")
    ]


def reader(claim: str, path: str) -> str:
    """A command that prints one file of a claim and leaves nothing behind."""
    volume = {"name": "claim", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
    container = {
        "name": "read",
        "image": READER,
        "command": ["cat", f"/claim/{path}"],
        "volumeMounts": [{"name": "claim", "mountPath": "/claim"}],
    }
    overrides = json.dumps({"spec": {"containers": [container], "volumes": [volume]}})
    options = f"--rm -i --quiet --restart=Never --image={READER} --overrides='{overrides}'"
    return f"kubectl run read-report {options} > report.html"
