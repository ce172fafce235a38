"""Public scripts' shapes in pods: the very files that `slipway local` runs, under their own launchers."""

from __future__ import annotations

import pytest

from tests.e2e.training.jobs import metrics
from tests.examples.scripts import SCRIPTS, job, reached

SHORT = "lightning_module"


def trained(namespace, example, name: str, processes: int) -> None:
    document = job(name, processes=processes)
    document["spec"]["trainer"]["resourcesPerNode"] = example("trainingjob.yaml")["spec"]["trainer"]["resourcesPerNode"]
    namespace.apply(document)
    found = namespace.until_condition("trainingjob", document["metadata"]["name"], "Succeeded", 400)
    assert reached(name, metrics(found)), metrics(found)
    assert found["status"]["artifact"]["uri"] == document["spec"]["output"]["uri"]


def test_a_public_scripts_shape_runs_in_a_pod(namespace, installed, example):
    trained(namespace, example, SHORT, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {SHORT}))
def test_each_public_scripts_shape_runs_in_a_pod(namespace, installed, example, name):
    trained(namespace, example, name, 2 if name in {"ddp_mnist", "min_gpt"} else 1)
