"""Contracts of import-linter break when an import is planted that they forbid: none holds by saying nothing."""

from __future__ import annotations

import copy
import tomllib
from functools import cache
from typing import Any

import grimp
import pytest
from importlinter.configuration import configure
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.independence import IndependenceContract
from importlinter.contracts.layers import LayersContract

from tests.cluster.paths import REPOSITORY

configure()
KINDS = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "independence": IndependenceContract,
    "layers": LayersContract,
}
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]
SESSION = {"root_packages": SETTINGS["root_packages"], "include_external_packages": "True"}
# By the beginning of the contract's name: who imports what.
PLANTED = {
    "client -> cli": ("slipway.runtime.clock", "slipway.gang.state"),
    "a service has": ("slipway.inferenceservice.plan", "slipway.gang.state"),
    "no circle among siblings of the operator": ("slipway.gang.policy.ttl", "slipway.gang.lifecycle"),
    "kopf only": ("slipway.config", "kopf"),
    "workloads: bench": ("workloads.errors", "workloads.bench.command"),
    "searchjob: ": ("slipway.searchjob.record", "slipway.searchjob.plan"),
    "quantize: ": ("workloads.quantize.hls.plan", "workloads.quantize.ladder"),
    "hls: ": ("workloads.quantize.hls.reuse", "workloads.quantize.hls.plan"),
    "bench: ": ("workloads.bench.flops", "workloads.bench.measure"),
    "train, quantize and serve": ("workloads.train.loop", "workloads.serve.app"),
    "no circle among siblings of workloads": ("workloads.serve.errors", "workloads.serve.app"),
    "workloads takes": ("workloads.errors", "slipway.runtime.clock"),
    "the operator never": ("slipway.config", "torch"),
    "the decisions": ("slipway.gang.lifecycle", "time"),
}


@cache
def graph() -> grimp.ImportGraph:
    roots = SETTINGS["root_packages"]
    return grimp.build_graph(*roots, include_external_packages=True, exclude_type_checking_imports=True)


def check(contract: dict[str, Any], imports: grimp.ImportGraph) -> bool:
    # As in an .ini file, where a truth is a word.
    words = {key: str(value) if isinstance(value, bool) else value for key, value in contract.items()}
    options = {key: value for key, value in words.items() if key not in ("name", "type")}
    made = KINDS[contract["type"]](contract["name"], SESSION, options)
    return bool(made.check(imports, verbose=False).kept)


@pytest.mark.parametrize("contract", SETTINGS["contracts"], ids=lambda contract: contract["name"][:24])
def test_a_planted_import_breaks_the_contract(contract: dict[str, Any]) -> None:
    ((importer, imported),) = [pair for start, pair in PLANTED.items() if contract["name"].startswith(start)]
    assert check(contract, copy.deepcopy(graph())), "broken without it"
    imports = copy.deepcopy(graph())
    if imported not in imports.modules:
        imports.add_module(imported, is_squashed=True)
    assert importer in imports.modules
    imports.add_import(importer=importer, imported=imported)
    assert not check(contract, imports)
