"""An operator that waits for the lease is ready, so the Service leads posts to it: it must say when to come back."""

from __future__ import annotations

import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.error import HTTPError

import pytest

from tests.api.operators import Operator
from tests.api.stage import PATIENCE
from tests.ports import free_ports

pytestmark = pytest.mark.api


def refusal(port: int, authority: Path) -> HTTPError:
    """What a post without a token is told."""
    url = f"https://127.0.0.1:{port}/apis/slipway.dev/v1alpha1/namespaces/n/trainingjobs/j/status"
    trust = ssl.create_default_context(cafile=str(authority))
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, b"{}", method="POST"), context=trust, timeout=10)
    return refused.value


def until_it_leads(port: int, authority: Path) -> None:
    """Wait for the first operator's lease: readiness comes before it, and on a busy machine the second one got it."""
    deadline = time.monotonic() + 30 * PATIENCE
    while refusal(port, authority).code == 503:
        assert time.monotonic() < deadline, "the first operator does not lead"
        time.sleep(0.05)


def test_a_standby_answers_posts_with_503_and_the_leader_does_not(
    namespace: str, operators: Callable[..., Operator], tmp_path: Path
) -> None:
    ports = free_ports(2)
    for place, port in zip(("leader", "standby"), ports, strict=True):
        operators(
            namespace,
            SLIPWAY_LEASE_NAMESPACE=namespace,
            SLIPWAY_IDENTITY=place,
            SLIPWAY_STATUS_URL=f"https://127.0.0.1:{port}",
            SLIPWAY_STATUS_PORT=str(port),
            SLIPWAY_STATUS_CERT_DIR=str(tmp_path / "none"),
            SLIPWAY_STATUS_MADE_DIR=str(tmp_path / place),
        ).ready()
        if place == "leader":
            until_it_leads(port, tmp_path / place / "ca.crt")
    (leader, standby) = (refusal(p, tmp_path / w / "ca.crt") for p, w in zip(ports, ("leader", "standby"), strict=True))
    assert leader.code == 401
    assert (standby.code, standby.headers["Retry-After"]) == (503, "2")
