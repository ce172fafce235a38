"""Installed as shipped: the operator's pod has no more rights than it needs, and coming and going disturbs no job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import install
from tests.cluster.kubectl import Kubectl, KubectlError
from tests.cluster.paths import REPOSITORY
from tests.e2e.conftest import Job, Namespace, is_true
from tests.e2e.training.steady import ends_well, started, waiting_job
from tests.unit.trainingjob.pods.pod_security import violations

pytestmark = pytest.mark.slow
ACCOUNT = f"system:serviceaccount:{install.NAMESPACE}:slipway-operator"
SHIPPED = ["operator/slipway", "manifests", "crds", "images"]
# By the modules of the folder where it runs; of the images the operator's alone is built anew.
INSTALL = """
import json, sys
from tests.cluster import install
from tests.cluster.choose import choose
from tests.cluster.images import build
from tests.cluster.kubectl import Kubectl
build.IMAGES = build.IMAGES[:1]
cluster = choose()
images = json.loads(sys.argv[1]) | build.build_and_load(cluster)
install.install(Kubectl(cluster.kubeconfig, cluster.context), images)
"""


def operator_pod(kubectl: Kubectl) -> Job:
    """The one that has come to stay."""
    listed = kubectl.get("-n", install.NAMESPACE, "pods", "-l", "app.kubernetes.io/name=slipway-operator")["items"]
    (pod,) = [one for one in listed if not one["metadata"].get("deletionTimestamp")]
    found: Job = pod
    return found


def test_the_operators_pod_is_restricted_and_reads_no_secret(installed: Kubectl) -> None:
    pod = operator_pod(installed)
    assert violations(pod) == []
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    inside = "import os; print(os.getuid()); open('/slipway', 'w')"
    words = ["-n", install.NAMESPACE, "exec", pod["metadata"]["name"], "--", "python3", "-c", inside]
    with pytest.raises(KubectlError, match="Read-only file system"):
        installed(*words)
    words[-1] = "import os; print(os.getuid(), os.getgid())"
    assert "0" not in installed(*words).split()
    for verb in ("get", "list", "watch", "update", "patch", "delete"):
        with pytest.raises(KubectlError):  # `can-i` says no by its exit code
            installed("auth", "can-i", verb, "secrets", f"--as={ACCOUNT}", "--all-namespaces", "--quiet")
    installed("auth", "can-i", "create", "secrets", f"--as={ACCOUNT}", "--all-namespaces", "--quiet")


@pytest.fixture
def changing(installed: Kubectl, images: dict[str, str]) -> Iterator[Kubectl]:
    """For tests that take the operator away: the others find it as it was."""
    yield installed
    install.install(installed, images)


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """The repository as it was before the latest change to anything that is shipped."""
    latest = _git("log", "-1", "--format=%H", "--", *SHIPPED).decode().strip()
    try:
        archive = _git("archive", "--format=tar", f"{latest}^")
    except subprocess.CalledProcessError:
        pytest.skip(f"a shallow clone: the parent of {latest} is not here")
    # Not by tarfile: Debian's 3.11.2 has no filters yet, and newer ones warn without one.
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive, check=True)
    return tmp_path


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, check=True, capture_output=True).stdout


def _python(folder: Path, *arguments: str) -> None:
    """Python in that folder, by that folder's own modules."""
    environment = os.environ | {"PYTHONPATH": "operator:."}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_an_upgrade_disturbs_no_job(
    changing: Kubectl, images: dict[str, str], namespace: Namespace, before: Path
) -> None:
    install.uninstall(changing)
    install.wait_gone(changing, "namespace", install.NAMESPACE)
    _python(before, "-c", INSTALL, json.dumps(images))
    old = operator_pod(changing)
    assert old["spec"]["containers"][0]["image"].startswith(images["operator"].rpartition(":")[0])
    pods = started(namespace, images["trainer"])
    install.install(changing, images)
    new = operator_pod(changing)
    assert new["spec"]["containers"][0]["image"] == images["operator"]
    # A change of manifests alone need not replace the pod; so see the new one work in either case.
    if new["metadata"]["uid"] == old["metadata"]["uid"]:
        changing("-n", install.NAMESPACE, "rollout", "restart", install.DEPLOYMENT)
        changing("-n", install.NAMESPACE, "rollout", "status", install.DEPLOYMENT, "--timeout=120s")
    ends_well(namespace, pods)


def left_behind(kubectl: Kubectl) -> list[str]:
    """What has Slipway's name in the cluster, but for the CRDs."""
    kinds = "namespaces,clusterroles,clusterrolebindings,priorityclasses,validatingwebhookconfigurations"
    names = kubectl("get", kinds, "-o", "name").split()
    return [name for name in names if "slipway" in name]


def test_uninstalling_leaves_running_jobs_and_nothing_else(
    changing: Kubectl, images: dict[str, str], namespace: Namespace
) -> None:
    pods = started(namespace, images["trainer"])
    shipped = [one["metadata"]["name"] for one in install.rendered(changing, images, "cluster")]
    assert all("slipway" in name for name in shipped), "what is found by its name below"
    install.uninstall(changing)
    install.wait_gone(changing, "namespace", install.NAMESPACE)
    assert left_behind(changing) == []
    job: dict[str, Any] = namespace.get("trainingjob", "steady")
    assert is_true(job, "Running")
    assert not job["metadata"].get("finalizers"), "nobody would be there to take it off"
    install.install(changing, images)
    ends_well(namespace, pods)
    namespace.apply(waiting_job("orphan", images["trainer"]))
    namespace.until("trainingjob", "orphan", lambda found: is_true(found, "Running"), "running", 90)
    install.uninstall(changing)
    changing("delete", "-k", str(REPOSITORY / "crds"), "--timeout=60s")
    install.wait_gone(changing, "namespace", install.NAMESPACE)
    assert not [name for name in changing("get", "crds", "-o", "name").split() if "slipway" in name]
    # Without its job, the garbage collector takes what belonged to it.
    for children in ("pods", "services", "configmaps"):
        install.wait_gone(changing, "-n", namespace.name, children, "-l", "slipway.dev/managed=true")
