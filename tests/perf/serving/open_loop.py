"""Latency at a steady rate: requests leave when a Poisson process says so, not when an answer has come.

A closed loop (wrk) waits while a server stalls, and so leaves out the requests that would have suffered. Here latency
counts from the moment a request was due, also while it waits for a free connection (coordinated omission).
Plain sockets and epoll in one thread: some 20 us a request of Python, and the kernel's part.
"""

from __future__ import annotations

import random
import select
import socket
import time
from collections import deque
from dataclasses import dataclass, field

CONNECTIONS = 64
GRACE = 5.0


@dataclass
class _Connection:
    """One keep-alive connection with at most one request under way; `due` is when that one should have left."""

    socket: socket.socket
    due: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def request_bytes(path: str, headers: dict[str, str], body: bytes) -> bytes:
    """A POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: bench", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def complete(received: bytearray) -> bool:
    """Whether a whole answer has come. Raises ValueError for one without Content-Length."""
    head = received.find(b"\r\n\r\n")
    if head < 0:
        return False
    for line in bytes(received[:head]).lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(received) >= head + 4 + int(line[15:])
    raise ValueError(f"an answer without Content-Length: {bytes(received[:200])!r}")


def run(port: int, request: bytes, rate: float, seconds: float, seed: int = 0) -> dict[str, float]:
    """Offer `rate` requests/s for `seconds`; milliseconds from due to answered, and how many were refused or lost."""
    loop = _Loop(port, request)
    try:
        return loop.run(_arrivals(rate, seconds, seed), rate)
    finally:
        loop.close()


def capacity(port: int, request: bytes, seconds: float) -> float:
    """Answers a second while all connections are busy: what the server gives beside this generator, which has its price
    on the same processors.
    """
    loop = _Loop(port, request)
    try:
        return loop.most(seconds)
    finally:
        loop.close()


def _arrivals(rate: float, seconds: float, seed: int) -> deque[float]:
    draw, moment, found = random.Random(seed), 0.0, deque[float]()
    while (moment := moment + draw.expovariate(rate)) < seconds:
        found.append(moment)
    return found


class _Loop:
    def __init__(self, port: int, request: bytes) -> None:
        self._request = request
        self._poll = select.epoll()
        self._all: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self._latencies: list[float] = []
        self._refused = 0
        for _ in range(CONNECTIONS):
            one = socket.create_connection(("127.0.0.1", port), timeout=10)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._poll.register(one.fileno(), select.EPOLLIN)
            self._all[one.fileno()] = _Connection(one)
        self._idle.extend(self._all.values())

    def close(self) -> None:
        for connection in self._all.values():
            connection.socket.close()
        self._poll.close()

    def run(self, arrivals: deque[float], rate: float) -> dict[str, float]:
        offered, started = len(arrivals), time.perf_counter()
        end = (arrivals[-1] if arrivals else 0.0) + GRACE
        while len(self._latencies) + self._refused < offered:
            now = time.perf_counter() - started
            if now > end:
                break
            while arrivals and arrivals[0] <= now:
                self._waiting.append(arrivals.popleft())
            while self._waiting and self._idle:
                self._send(self._idle.pop(), self._waiting.popleft())
            pause = max(0.0, arrivals[0] - (time.perf_counter() - started)) if arrivals else 0.05
            for descriptor, _ in self._poll.poll(pause):
                self._receive(self._all[descriptor], started)
        ordered = sorted(self._latencies)
        lost = offered - len(ordered) - self._refused
        return {
            "offered_rps": round(rate, 1),
            "p50_ms": _percentile(ordered, 0.50),
            "p99_ms": _percentile(ordered, 0.99),
            "refused": self._refused,
            "lost": lost,
        }

    def most(self, seconds: float) -> float:
        started = time.perf_counter()
        while (now := time.perf_counter() - started) < seconds:
            while self._idle:
                self._send(self._idle.pop(), now)
            for descriptor, _ in self._poll.poll(0.05):
                self._receive(self._all[descriptor], started)
        return len(self._latencies) / now

    def _send(self, connection: _Connection, due: float) -> None:
        connection.due = due
        connection.socket.sendall(self._request)

    def _receive(self, connection: _Connection, started: float) -> None:
        some = connection.socket.recv(65536)
        if not some:
            raise ConnectionError("the server closed a connection under load")
        connection.received += some
        if not complete(connection.received):
            return
        if connection.received.startswith(b"HTTP/1.1 200"):
            self._latencies.append(time.perf_counter() - started - connection.due)
        else:
            self._refused += 1
        connection.received.clear()
        self._idle.append(connection)


def _percentile(ordered: list[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3) if ordered else float("nan")
