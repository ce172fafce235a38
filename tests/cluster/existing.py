"""A cluster that somebody else runs, named by KUBE_CONTEXT: used as it is, never brought up or down.

It is asked through kubectl, which knows every way to log in and merges the files of $KUBECONFIG. Its nodes take images
from the registry that SLIPWAY_IMAGE_REGISTRY names; what cannot be used is said before anything is built.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.images import build, registry
from tests.cluster.paths import cache
from tests.cluster.say import step

# Longer than a sleepy VPN takes, shorter than a person's patience.
_PATIENCE = "10s"


class ExistingCluster:
    """The cluster of a context in $KUBECONFIG or ~/.kube/config."""

    name = "existing"

    def __init__(self, context: str) -> None:
        self.context = context

    @property
    def kubeconfig(self) -> Path:
        """A copy of what this context needs of the user's own, with it as the current one."""
        merged = cache() / "existing" / "kubeconfig"
        merged.parent.mkdir(mode=0o700, exist_ok=True)
        text = self._kubectl("config", "view", "--raw", "--flatten", "--minify")
        merged.touch(mode=0o600)
        merged.write_text(text)
        return merged

    def check(self) -> None:
        """The context is there, its server answers, and so does a registry. Raises ClusterError in seconds."""
        self.up()
        self._registry(()).ping()

    def up(self) -> None:
        """Only look whether it is there and answers. Raises ClusterError."""
        known = self._run("kubectl", "config", "get-contexts", "-o", "name").splitlines()
        if self.context not in known:
            where = os.environ.get("KUBECONFIG") or "~/.kube/config"
            raise ClusterError(
                f"KUBE_CONTEXT={self.context} is no context of {where}, which has {', '.join(known) or 'none'}"
            )
        try:
            self._kubectl("version", "-o", "json", f"--request-timeout={_PATIENCE}")
        except ClusterError as error:
            raise ClusterError(f"KUBE_CONTEXT={self.context} does not answer: {error}") from error

    def down(self) -> None:
        """Leave it alone."""

    def load(self, images: Sequence[str]) -> list[str]:
        """Push images of the local builder to the registry; return their names there. Raises ClusterError."""
        target = self._registry(images)
        builder = build.builder_for(self)
        pushed = []
        for image in images:
            pushed.append(target.reference(image))
            with step(f"push {pushed[-1]}"):
                builder.push(image, pushed[-1], insecure=target.insecure)
        return pushed

    def unload(self, images: Sequence[str]) -> None:
        """Leave them to their owner."""

    def status(self) -> list[str]:
        """Return its version and nodes."""
        version = json.loads(self._kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"]
        nodes = self._kubectl("get", "nodes", "-o", "name").split()
        return [f"{self.context}: {version}, {len(nodes)} nodes"]

    def _registry(self, images: Sequence[str]) -> registry.Registry:
        named = registry.named()
        if named is None:
            what = f"push {', '.join(images)} there" if images else "its nodes take images from there alone"
            raise ClusterError(
                f"context {self.context}: set {registry.VARIABLE} to a registry that you may push to and its nodes can "
                f"pull from, such as registry.example.com/slipway: {what}"
            )
        return named

    def _kubectl(self, *arguments: str) -> str:
        return self._run("kubectl", f"--context={self.context}", *arguments)

    def _run(self, *argv: str) -> str:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        except FileNotFoundError:
            raise ClusterError("KUBE_CONTEXT needs kubectl, which is not installed") from None
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{' '.join(argv)} did not end within 30 s") from None
        if done.returncode:
            raise ClusterError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{argv} failed")
        return done.stdout
