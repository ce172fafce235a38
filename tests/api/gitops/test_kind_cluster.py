"""The commands that bring a kind cluster up and down, written down by a `kind` and a `docker` that do nothing else.

The API server behind them is real: nodes get their GPUs, and the volume provisioner its shared folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.stage import Stage
from tests.cluster import gpus
from tests.cluster.kind import SHARED, KindCluster

pytestmark = pytest.mark.api
KIND = """#!/bin/sh
echo "kind $*" >> {log}
for word in "$@"; do case "$word" in --kubeconfig=*) kubeconfig="${{word#--kubeconfig=}}";; esac; done
case "$1 $2" in
  "get clusters") if [ -e {there} ]; then cat {there}; fi;;
  "get nodes") echo slipway-worker;;
  "create cluster") echo slipway > {there}; cp {admin} "$kubeconfig";;
  "delete cluster") rm {there};;
esac
"""
DOCKER = """#!/bin/sh
echo "docker $*" >> {log}
echo localhost/slipway/operator:1
"""


def test_up_load_unload_down(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"log": tmp_path / "log", "there": tmp_path / "there", "admin": stage.plane.kubeconfig}
    for name, script in (("kind", KIND), ("docker", DOCKER)):
        (tmp_path / name).write_text(script.format(**parts))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    client = stage.plane.client
    client.call("POST", "/api/v1/nodes", {"metadata": {"name": "kind-worker", "labels": gpus.LABELS}})
    storage = stage.namespace("local-path-storage")
    settings = {"metadata": {"name": "local-path-config"}, "data": {"config.json": "{}"}}
    client.call("POST", f"/api/v1/namespaces/{storage}/configmaps", settings)
    cluster = KindCluster()
    kubeconfig = f"--kubeconfig={cluster.kubeconfig}"
    cluster.up()
    assert client.get("/api/v1/nodes/kind-worker")["status"]["allocatable"][gpus.RESOURCE] == str(gpus.GPUS)
    data = client.get(f"/api/v1/namespaces/{storage}/configmaps/local-path-config")["data"]
    assert json.loads(data["config.json"]) == {"sharedFileSystemPath": SHARED}
    cluster.up()
    cluster.load(["localhost/slipway/operator:1"])
    cluster.unload(["localhost/slipway/operator:1", "localhost/slipway/trainer:1"])
    cluster.down()
    stage.remove("/api/v1/nodes/kind-worker")
    first, create, second, export, *rest = parts["log"].read_text().splitlines()
    assert (first, second) == ("kind get clusters", "kind get clusters")
    assert create.startswith(f"kind create cluster --wait 120s {kubeconfig} --config=")
    assert create.endswith("kind-config.yaml --name=slipway")
    assert export == f"kind export kubeconfig {kubeconfig} --name=slipway"
    assert rest == [
        "kind load docker-image --name=slipway localhost/slipway/operator:1",
        "kind get nodes --name=slipway",
        "docker exec slipway-worker ctr -n k8s.io images ls -q",
        "docker exec slipway-worker ctr -n k8s.io images rm localhost/slipway/operator:1",
        f"kind delete cluster {kubeconfig} --name=slipway",
    ]
