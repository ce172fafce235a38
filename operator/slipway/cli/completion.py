"""Names of resources for the shell's completion: `slipway --install-completion` once, then <Tab>."""

import subprocess
from collections.abc import Iterator

import typer

from slipway.cli.cluster import Cluster, ClusterError, title

SECONDS = 2.0  # a shell that hangs because a cluster does is worse than no names


def names(context: typer.Context, incomplete: str) -> Iterator[str]:
    """KIND/NAME of what the namespace holds, or NAME where the user has begun one; nothing without a cluster."""
    asked = context.params
    where = Cluster(asked.get("kubeconfig") or "", asked.get("context") or "", asked.get("namespace") or "")
    try:
        found = where.resources(timeout=SECONDS)
    except (ClusterError, subprocess.TimeoutExpired, ValueError):
        return
    for obj in found:
        for word in (title(obj), obj["metadata"]["name"]):
            if word.startswith(incomplete) and (incomplete or "/" in word):
                yield word
