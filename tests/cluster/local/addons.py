"""The part of a cluster that Kubernetes leaves to others, as one process: names, volumes, and the GPUs of the nodes.

Runs beside the control plane: `python -m tests.cluster.local.addons KUBECONFIG FOLDER ADDRESS`.
"""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.cluster import gpus
from tests.cluster.local import dns, volumes
from tests.cluster.rest import Client, Object


def main(kubeconfig: Path, folder: Path, address: str) -> None:
    """Serve until killed."""
    client = Client(kubeconfig)
    resolver = dns.Resolver(dns.upstream())
    known: dict[str, list[Object]] = {"services": [], "endpoints": []}

    def renew(kind: str) -> Callable[[list[Object]], None]:
        def store(objects: list[Object]) -> None:
            known[kind] = objects
            resolver.names = dns.names(known["services"], known["endpoints"])

        return store

    def equip(nodes: list[Object]) -> None:
        for node in filter(gpus.missing, nodes):
            gpus.give(client, node["metadata"]["name"])

    followed: dict[str, Callable[[list[Object]], None]] = {
        "services": renew("services"),
        "endpoints": renew("endpoints"),
        "persistentvolumeclaims": lambda claims: volumes.provide(client, folder, claims),
        "persistentvolumes": lambda found: volumes.reclaim(client, found),
        "nodes": equip,
    }
    dns.serve(resolver, address)
    threads = [threading.Thread(target=_forever, args=(client, kind, store)) for kind, store in followed.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _forever(client: Client, kind: str, store: Callable[[list[Object]], None]) -> None:
    while True:
        try:
            client.follow(f"/api/v1/{kind}", store)
        except Exception:
            # One odd object must not end the names of all others; the log says which.
            traceback.print_exc()
            time.sleep(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
