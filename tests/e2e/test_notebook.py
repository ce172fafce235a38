"""The tutorial's notebook drives the whole chain in the cluster by the Python client."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster import install
from tests.cluster.base import Cluster
from tests.e2e.conftest import Namespace
from tests.notebook import TUTORIAL, outputs

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_the_tutorial_ends_with_an_answer_of_the_cluster(
    cluster: Cluster, namespace: Namespace, tmp_path: Path
) -> None:
    namespace.kubectl("apply", "-f", str(install.example("storage.yaml")))
    known = f"namespace={namespace.name!r}, kubeconfig={str(cluster.kubeconfig)!r}"
    replaced = {"LOCAL = True": "LOCAL = False", "Client()": f"Client({known})"}
    text = outputs(TUTORIAL, tmp_path, replaced, timeout=1500)
    assert "a picture of 0 is taken for 0" in text
    assert "sha256:" in text
