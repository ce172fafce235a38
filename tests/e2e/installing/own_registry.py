"""A registry on this machine, Debian's docker-registry, that the local cluster's nodes pull from without TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.cluster.images.registry import Registry
from tests.cluster.local import debian, network
from tests.cluster.local.cluster import LocalCluster
from tests.cluster.local.process import Process
from tests.ports import free_port


@contextmanager
def serving(cluster: LocalCluster, folder: Path) -> Iterator[Registry]:
    """One whose images lie in the folder, as long as the block lasts."""
    debian.install(["docker-registry"])
    host = f"{network.GATEWAY}:{free_port()}"
    configuration = {
        "version": 0.1,
        "log": {"level": "warn"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "store")}, "delete": {"enabled": True}},
        "http": {"addr": host},
    }
    (folder / "config.yml").write_text(yaml.safe_dump(configuration))
    process = Process("registry", ["docker-registry", "serve", str(folder / "config.yml")], folder)
    process.start()
    for node in cluster.nodes():
        hosts = node.directory / "registries" / host
        hosts.mkdir(parents=True, exist_ok=True)
        (hosts / "hosts.toml").write_text(f'[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n')
    try:
        yield Registry(f"{host}/slipway", insecure=True)
    finally:
        process.stop()
