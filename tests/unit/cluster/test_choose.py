"""Which cluster is meant."""

from __future__ import annotations

import pytest

from tests.cluster.choose import choose


@pytest.mark.parametrize(
    ("environment", "kind_works", "name"),
    [
        ({}, False, "local"),
        ({}, True, "kind"),
        ({"KUBE_CONTEXT": ""}, True, "kind"),
        ({"KUBE_CONTEXT": "prod"}, True, "existing"),
        ({"KUBE_CONTEXT": "prod", "SLIPWAY_CLUSTER": "local"}, True, "existing"),
        ({"SLIPWAY_CLUSTER": "local"}, True, "local"),
        ({"SLIPWAY_CLUSTER": "kind"}, False, "kind"),
    ],
)
def test_a_named_context_wins_then_kind_then_local(environment: dict[str, str], kind_works: bool, name: str) -> None:
    assert choose(environment, lambda: kind_works).name == name
