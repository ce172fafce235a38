"""What a user applies today is served as it is, without a word of warning: nothing in it is on its way out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster.kubectl import Kubectl
from tests.cluster.local.control_plane import ControlPlane
from tests.unit.gitops.build import OVERLAYS, build

pytestmark = pytest.mark.api


@pytest.mark.parametrize("overlay", sorted(OVERLAYS.iterdir()), ids=lambda path: path.name)
def test_an_overlay_is_applied_server_side_without_a_warning(
    plane: ControlPlane, kubectl: Kubectl, overlay: Path
) -> None:
    plane.client.apply("/api/v1/namespaces", {"metadata": {"name": "models"}})
    objects = build(overlay)
    done = subprocess.run(
        [*kubectl.base, "apply", "--server-side", "--force-conflicts", "-f", "-"],
        input=yaml.safe_dump_all(objects),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("serverside-applied") == len(objects)
    assert done.stderr == ""


def test_nothing_that_was_asked_for_here_is_deprecated(plane: ControlPlane, kubectl: Kubectl) -> None:
    marked = [e for e in plane.audit_events() if (e.get("annotations") or {}).get("k8s.io/deprecated") == "true"]
    mine = [e for e in marked if "kube-controller-manager" not in e["userAgent"]]
    assert [(e["userAgent"], e["requestURI"]) for e in mine] == []
