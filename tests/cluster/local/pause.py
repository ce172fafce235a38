"""The image of the process that holds a pod's namespaces open, made from scratch: no registry is at hand."""

from __future__ import annotations

from tests.cluster import paths
from tests.cluster.images import layout
from tests.cluster.images.transfer import Store
from tests.cluster.local import debian

REFERENCE = "localhost/slipway/pause:1"


def load(store: Store) -> None:
    """Import the pause image into a node's store."""
    program = debian.pause_program()
    folder = paths.cache() / "images" / "pause"
    config = {"Entrypoint": ["/pause"], "User": "65535:65535"}
    store.add(layout.single(folder, REFERENCE, {"pause": program}, config), REFERENCE)
