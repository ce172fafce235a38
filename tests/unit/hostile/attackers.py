"""Servers that send what they like, in threads of their own."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Iterable, Iterator

Said = Iterable[bytes]
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


@contextlib.contextmanager
def attacker(said: bytes | Said, *, pause: float = 0.0, at: tuple[str, int] = ("127.0.0.1", 0)) -> Iterator[str]:
    """Its base URL. To everybody it says the same: these pieces, `pause` seconds between two."""
    pieces = [said] if isinstance(said, bytes) else said
    with socket.create_server(at, backlog=512) as door:
        thread = threading.Thread(target=_serve, args=(door, pieces, pause), daemon=True)
        thread.start()
        yield f"http://{at[0]}:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(door: socket.socket, pieces: Said, pause: float) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = door.accept()
            threading.Thread(target=_say, args=(client, pieces, pause), daemon=True).start()


def _say(client: socket.socket, pieces: Said, pause: float) -> None:
    with client, contextlib.suppress(OSError):
        client.settimeout(20)
        client.recv(4096)
        for piece in pieces:
            client.sendall(piece)
            if pause:
                time.sleep(pause)


def for_ever(piece: bytes, before: bytes = b"") -> Said:
    """This piece again and again."""
    return _Endless(before, piece)


class _Endless:
    def __init__(self, before: bytes, piece: bytes) -> None:
        self._before, self._piece = before, piece

    def __iter__(self) -> Iterator[bytes]:
        return itertools.chain([self._before], itertools.repeat(self._piece))
