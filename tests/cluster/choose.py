"""Which cluster is meant: the one that KUBE_CONTEXT names, else kind where Docker runs, else the local one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping

from tests.cluster.base import Cluster
from tests.cluster.images import docker


def choose(environment: Mapping[str, str] = os.environ, kind_works: Callable[[], bool] | None = None) -> Cluster:
    """Return the cluster to use. SLIPWAY_CLUSTER=local or kind overrules the choice between those two."""
    from tests.cluster.existing import ExistingCluster
    from tests.cluster.kind import KindCluster
    from tests.cluster.local.cluster import LocalCluster

    if context := environment.get("KUBE_CONTEXT"):
        return ExistingCluster(context)
    asked = environment.get("SLIPWAY_CLUSTER")
    if asked == "kind" or (asked is None and (kind_works or docker_and_kind)()):
        return KindCluster()
    return LocalCluster()


def docker_and_kind() -> bool:
    """Tell whether `kind` is there and a Docker engine answers."""
    return bool(shutil.which("kind")) and docker.works()
