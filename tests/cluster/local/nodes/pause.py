"""The image of the process that holds a pod's namespaces open, made from scratch: no registry is at hand."""

from __future__ import annotations

from tests.cluster.images.archive import Single
from tests.cluster.images.transfer import Store
from tests.cluster.local import debian

REFERENCE = "localhost/slipway/pause:1"


def load(store: Store) -> None:
    """Import the pause image into a node's store."""
    config: dict[str, object] = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    store.add(Single(REFERENCE, {"pause": str(debian.pause_program())}, config), REFERENCE)
