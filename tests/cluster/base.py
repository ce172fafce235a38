"""What every cluster can do, whoever runs it: the local one, kind, or one that exists already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Cluster(Protocol):
    """A cluster with at least two nodes that show `nvidia.com/gpu`.

    `context` names the context in `kubeconfig` to use; None is its current one.
    """

    name: str

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; it exists after `up`."""

    @property
    def context(self) -> str | None:
        """The kubeconfig's context that means this cluster."""

    def up(self) -> None:
        """Bring the cluster up, or repair it; seconds when it is healthy already."""

    def down(self) -> None:
        """End it and leave only caches."""

    def check(self) -> None:
        """Look, within seconds and before anything is built, whether it can be used. Raises ClusterError."""

    def load(self, images: Sequence[str]) -> list[str]:
        """Make images of the local builder known to every node; return the names by which pods ask for them."""

    def unload(self, images: Sequence[str]) -> None:
        """Let the nodes forget images, as far as they have them."""

    def status(self) -> list[str]:
        """Return a few lines for a person: what runs, what does not."""


class ClusterError(Exception):
    """The cluster can't be used; the text says why and what to do."""
