"""A cluster that somebody else runs, named by KUBE_CONTEXT: used as it is, never brought up or down."""

from __future__ import annotations

import http.client
import os
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.base import ClusterError
from tests.cluster.rest import ApiError, Client


class ExistingCluster:
    """The cluster of a context in $KUBECONFIG (its first file) or ~/.kube/config."""

    name = "existing"

    def __init__(self, context: str) -> None:
        self.context = context

    @property
    def kubeconfig(self) -> Path:
        """The user's own kubeconfig."""
        named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(named) if named else Path.home() / ".kube" / "config"

    def up(self) -> None:
        """Only look whether it answers. Raises ClusterError."""
        try:
            Client(self.kubeconfig, self.context).get("/version")
        except (ApiError, OSError, http.client.HTTPException, StopIteration, KeyError) as error:
            raise ClusterError(f"KUBE_CONTEXT={self.context} does not answer: {error!r}") from error

    def down(self) -> None:
        """Leave it alone."""

    def load(self, images: Sequence[str]) -> None:
        """Refuse: its nodes take images from a registry, which only its owner can name."""
        raise ClusterError(
            f"context {self.context} takes images from its registry: push {', '.join(images)} there, "
            "and set SLIPWAY_IMAGE_REGISTRY to its prefix"
        )

    def unload(self, images: Sequence[str]) -> None:
        """Leave them to their owner."""

    def status(self) -> list[str]:
        """Return its version and nodes."""
        client = Client(self.kubeconfig, self.context)
        nodes = client.get("/api/v1/nodes")["items"]
        return [f"{self.context}: {client.get('/version')['gitVersion']}, {len(nodes)} nodes"]
