"""Servers behind gateways that others wrote: what a client is answered through them, on connections that they share."""

from __future__ import annotations

import shutil

import pytest

from tests.conformance.clients.gateways import GATEWAYS


@pytest.mark.parametrize("gateway", GATEWAYS, ids=lambda one: one.name)
def test_each_input_is_answered_rightly_through_a_gateway(serve, tmp_path, gateway) -> None:
    """nginx answered 502 to the call behind one that was refused before its last frame was read."""
    if not gateway.there or shutil.which("curl") is None:
        pytest.skip(f"{gateway.name} or curl is not installed")
    found = gateway.faults(serve("float"), tmp_path)
    assert len(found) >= 3
    assert not any(found.values()), found
