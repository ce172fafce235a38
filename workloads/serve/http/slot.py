"""The place of one reply in the order of replies. Used by connection.py."""

from workloads.serve.http.message import Pending, Reply
from workloads.serve.http.stream import Stream


class Slot:
    """`pending` until there is a `reply`. `bytes` of the request are in memory until the reply is written."""

    __slots__ = ("bytes", "headless", "keep_alive", "old", "pending", "raw", "reply")

    def __init__(self, keep_alive: bool, headless: bool, size: int, old: bool = False, raw: bool = False) -> None:
        self.keep_alive = keep_alive
        self.old = old  # HTTP/1.0
        self.raw = raw  # HTTP/1.0, kept alive or not: a stream ends with the connection
        self.headless = headless
        self.bytes = size
        self.pending: Pending | None = None
        self.reply: Reply | None = None

    def abandon(self) -> None:
        """Nobody waits for the reply any more."""
        if isinstance(self.reply, Stream):
            self.reply.abandon()
        elif self.pending is not None and self.reply is None:
            self.pending.abandon()
