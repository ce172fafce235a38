"""Listeners without a host take clients of IPv4 and of IPv6, on one port: clusters have either, or both."""

from __future__ import annotations

import asyncio
import socket

import pytest

from slipway.runtime.connections.accept import open_socket
from workloads.pod.listener import Listener

FAMILIES = ["127.0.0.1", "::1"]


def _has(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


class Greeting(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"hello")
        transport.close()


@pytest.mark.parametrize("address", FAMILIES)
async def test_server_and_activator_listen_on_both(address: str) -> None:
    if not _has(address):
        pytest.skip(f"this machine has no {address}")
    listener = Listener(Greeting, 16)
    await listener.start(None, 0)
    reader, writer = await asyncio.open_connection(address, listener.port)
    assert await reader.read() == b"hello"
    writer.close()
    await listener.close()


@pytest.mark.parametrize("address", FAMILIES)
async def test_the_operator_listens_on_both(address: str) -> None:
    if not _has(address):
        pytest.skip(f"this machine has no {address}")
    with open_socket(None, 0) as listening:
        port = listening.getsockname()[1]
        connecting = asyncio.open_connection(address, port)
        accepted, _ = await asyncio.gather(asyncio.get_running_loop().sock_accept(listening), connecting)
        accepted[0].close()
