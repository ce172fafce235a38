"""Import contracts of pyproject.toml: each is broken by an import that is planted for it, and by none that is there."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter.application.use_cases import read_user_options
from importlinter.configuration import configure
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract

configure()
ROOT = Path(__file__).resolve().parents[2]
KINDS = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "independence": IndependenceContract,
    "layers": LayersContract,
}
# Contract by the beginning of its name, importer, imported.
PLANTED = [
    ("main -> kinds", "slipway.runtime.conditions", "slipway.trainingjob.plan"),
    ("main -> kinds", "slipway.reconcile.plan", "slipway.gang.lifecycle"),
    ("main -> kinds", "slipway.trainingjob.plan", "slipway.quantizationjob.plan"),
    ("a service has neither", "slipway.inferenceservice.plan", "slipway.gang.lifecycle"),
    ("no circle among siblings of the operator", "slipway.api.common.base", "slipway.api.training.trainingjob"),
    ("kopf only in main", "slipway.reconcile.plan", "kopf"),
    ("workloads takes slipway.api", "workloads.train.run", "slipway.reconcile.plan"),
    ("workloads takes slipway.api", "workloads.serve.run", "aiohttp"),
    ("the operator never imports workloads", "slipway.trainingjob.plan", "workloads.errors"),
    ("the operator never imports workloads", "slipway.trainingjob.plan", "torch"),
    ("the decisions are pure", "slipway.trainingjob.plan", "time"),
    ("workloads: bench", "workloads.serve.model", "workloads.export.from_torch"),
    ("workloads: bench", "workloads.export.from_torch", "workloads.train.run"),
    ("workloads: bench", "workloads.artifact", "workloads.models.registry"),
    ("workloads: bench", "workloads.data.registry", "workloads.onnx.file"),
    ("workloads: bench", "workloads.pod.cpus", "workloads.storage.uris"),
    ("workloads: bench", "workloads.errors", "workloads.libraries"),
    ("train, quantize and serve", "workloads.train.run", "workloads.quantize.run"),
    ("train, quantize and serve", "workloads.quantize.run", "workloads.serve.settings"),
    ("no circle among siblings of workloads", "workloads.serve.protocol.tensors", "workloads.serve.rest.inference"),
    ("no circle among siblings of workloads", "workloads.quantize.algorithms.qdq", "workloads.quantize.ladder.rungs"),
]


@pytest.fixture(scope="module")
def graph() -> Any:
    return grimp.build_graph(
        "slipway", "workloads", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )


def contract(beginning: str) -> Any:
    options = read_user_options(config_filename=str(ROOT / "pyproject.toml"))
    (one,) = [each for each in options.contracts_options if str(each["name"]).startswith(beginning)]
    kind = KINDS[str(one["type"])]
    return kind(name=str(one["name"]), session_options=options.session_options, contract_options=one)


@pytest.mark.parametrize(("beginning", "importer", "imported"), PLANTED)
def test_a_planted_import_breaks_the_contract(graph: Any, beginning: str, importer: str, imported: str) -> None:
    planted = deepcopy(graph)
    assert importer in planted.modules
    if imported not in planted.modules:
        planted.add_module(imported, is_squashed=True)
    planted.add_import(importer=importer, imported=imported, line_number=1, line_contents=f"import {imported}")
    assert not contract(beginning).check(planted, verbose=False).kept


@pytest.mark.parametrize("beginning", sorted({beginning for beginning, *_ in PLANTED}))
def test_the_contract_holds_without_it(graph: Any, beginning: str) -> None:
    assert contract(beginning).check(deepcopy(graph), verbose=False).kept
