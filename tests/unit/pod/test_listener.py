"""Whoever is connected is served, whatever the moment at which the listener closes. Real sockets, both event loops."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest
import uvloop

from workloads.pod import listener as module
from workloads.pod.listener import Listener

BACKLOG = 128


@pytest.fixture(params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"])
def event_loop_policy(request):
    return request.param()


class Echo(asyncio.Protocol):
    transport = None

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def connected(port: int, host: str = "127.0.0.1") -> socket.socket:
    """By the kernel alone: the event loop has not had a turn yet."""
    client = socket.create_connection((host, port))
    client.setblocking(False)
    return client


async def answers(client: socket.socket) -> bool:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        await loop.sock_sendall(client, b"hello")
        return await loop.sock_recv(client, 5) == b"hello"


@pytest.mark.parametrize("turns", range(4))
async def test_who_came_as_it_closed_is_served(turns: int) -> None:
    """asyncio's own server left them hanging, or reset them: it depends on the turn of the loop."""
    made: list[Echo] = []
    listener = Listener(lambda: made.append(Echo()) or made[-1], BACKLOG)
    await listener.start("127.0.0.1", 0)
    clients = [connected(listener.port) for _ in range(BACKLOG // 2)]
    for _ in range(turns):
        await asyncio.sleep(0)
    await listener.close()
    assert len([echo for echo in made if echo.transport]) == len(clients), "whoever ends next must know of all"
    assert all([await answers(client) for client in clients])
    with pytest.raises(ConnectionRefusedError):
        connected(listener.port)
    for client in clients:
        client.close()


async def test_all_addresses_have_one_port() -> None:
    listener = Listener(Echo, BACKLOG)
    await listener.start(None, 0)
    hosts = ["127.0.0.1"] + (["::1"] if len(listener._sockets) > 1 else [])
    for host in hosts:
        assert await answers(connected(listener.port, host))
    await listener.close()


async def test_a_port_that_is_taken_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listener = Listener(Echo, BACKLOG)
        with pytest.raises(OSError, match="in use") as caught:
            await listener.start("127.0.0.1", other.getsockname()[1])
    assert caught.value.errno == errno.EADDRINUSE


class Full:
    """A socket of a process that may open no more files, until `room`."""

    def __init__(self, real: socket.socket) -> None:
        self.real, self.room, self.asked = real, False, 0

    def accept(self):
        self.asked += 1
        if not self.room:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.real.accept()

    def __getattr__(self, name: str):
        return getattr(self.real, name)


async def test_without_a_file_descriptor_it_waits_and_the_client_with_it(monkeypatch) -> None:
    monkeypatch.setattr(module, "SCARCE_SECONDS", 0.05)
    real = socket.create_server
    monkeypatch.setattr(socket, "create_server", lambda *a, **k: Full(real(*a, **k)))
    listener = Listener(Echo, BACKLOG)
    await listener.start("127.0.0.1", 0)
    (full,) = listener._sockets
    client = connected(listener.port)
    waiting = asyncio.create_task(answers(client))
    await asyncio.sleep(0.3)
    assert 2 <= full.asked <= 8, "it asks again, but does not spin"
    full.room = True
    assert await waiting
    await listener.close()
