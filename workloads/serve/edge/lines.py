"""Lines for the standard output, written on a thread of their own: a reader that stalls holds up no request.

So many wait for it; beyond that they are dropped and counted, and the next line that is written says how many.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable

MOST = 10_000
CLOSING_SECONDS = 1.0


def to_output(line: bytes) -> None:
    """Write a line to the standard output at once, as it is."""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


class Lines:
    """Writer of lines, whose thread begins with the first line."""

    def __init__(self, write: Callable[[bytes], None] = to_output) -> None:
        self._write = write
        self._waiting: deque[bytes] = deque()
        self._there = threading.Event()
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._closed = False

    def __call__(self, line: bytes) -> None:
        """Add a line, which has its end; it is dropped when too many wait."""
        if len(self._waiting) >= MOST:
            self._dropped += 1
            return
        self._waiting.append(line)
        self._there.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Write what waits, if that takes no longer than a moment."""
        self._closed = True
        self._there.set()
        if self._thread is not None:
            self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        while not (self._closed and not self._waiting):
            self._there.wait()
            self._there.clear()
            while self._waiting:
                lost, self._dropped = self._dropped, 0
                parts = [b'{"dropped":%d}\n' % lost] if lost else []
                while self._waiting and len(parts) < 100:
                    parts.append(self._waiting.popleft())
                try:
                    self._write(b"".join(parts))
                except OSError:  # nobody reads any more
                    return
