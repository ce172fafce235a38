"""The place of one reply in the order of replies. Used by connection.py."""

from workloads.serve.http.message import Pending, Reply


class Slot:
    """`pending` until there is a `reply`. `bytes` of the request are in memory until the reply is written."""

    __slots__ = ("bytes", "headless", "keep_alive", "old", "pending", "reply")

    def __init__(self, keep_alive: bool, headless: bool, size: int, old: bool = False) -> None:
        self.keep_alive = keep_alive
        self.old = old  # HTTP/1.0
        self.headless = headless
        self.bytes = size
        self.pending: Pending | None = None
        self.reply: Reply | None = None
