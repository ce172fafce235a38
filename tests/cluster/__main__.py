"""`python -m tests.cluster ACTION`: clusters and images, for a person and the Makefile; --help lists the actions."""

from __future__ import annotations

import argparse
import sys

from tests.cluster.base import Cluster, ClusterError
from tests.cluster.choose import choose
from tests.cluster.local import debian
from tests.cluster.local.control_plane import NotReadyError

_ACTIONS = {
    "prepare": "install Debian's packages and build Kubernetes, which the tests need even where there is a cluster",
    "check": "look whether the cluster that KUBE_CONTEXT names, and its registry, can be used",
    "up": "bring the cluster up, or repair it",
    "down": "end it; caches stay",
    "status": "say what runs",
    "images": "build the images and load them into the cluster, which is brought up; prints name=reference lines",
    "push": "build the images and push them to SLIPWAY_IMAGE_REGISTRY; prints name=reference@digest lines",
    "demo": "bring the cluster up and train a model in it",
}


def main() -> int:
    """Run one action; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, text in _ACTIONS.items():
        actions.add_parser(name, help=text)
    action = parser.parse_args().action
    try:
        return _run(action)
    except (ClusterError, NotReadyError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(action: str) -> int:
    if action == "prepare":
        debian.prepare()
        return 0
    if action == "push":
        from tests.cluster.images import push

        push.main()
        return 0
    cluster = choose()
    if action in {"check", "demo", "images"}:
        cluster.check()
    if action == "demo":
        _demo(cluster)
    elif action == "up":
        cluster.up()
        print(cluster.kubeconfig)
    elif action == "down":
        cluster.down()
    elif action == "status":
        print("\n".join(cluster.status()))
    elif action == "images":
        from tests.cluster.images import build

        build.announce(cluster)
        cluster.up()  # there is nothing to load them into otherwise
        for name, reference in build.build_and_load(cluster).items():
            print(f"{name}={reference}")
    return 0


def _demo(cluster: Cluster) -> None:
    from tests.cluster import install
    from tests.cluster.demonstration import demo
    from tests.cluster.images import build
    from tests.cluster.kubectl import Kubectl

    build.announce(cluster)
    cluster.up()
    kubectl = Kubectl(cluster.kubeconfig, cluster.context)
    install.install(kubectl, build.build_and_load(cluster))
    demo.show(kubectl)


if __name__ == "__main__":
    sys.exit(main())
