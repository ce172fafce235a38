"""Time slices: how soon a thread that wakes up gets a core from one that has it, asked of Linux 6.12 and newer.

Priorities alone do not say it: since Linux 6.6 a thread that has a core keeps it for some milliseconds, whatever its
nice value, and a server's answer waits for as long. Whoever asks for a shorter slice than the one that runs gets its
core at once, as long as it has had no more than its share. Older kernels, and others, take no notice.
"""

import contextlib
import ctypes
import platform
import struct
from typing import Any

GET, SET = {"x86_64": (315, 314), "aarch64": (275, 274)}.get(platform.machine(), (0, 0))
# struct sched_attr: size, policy, flags, nice, priority; runtime, deadline, period, of which the first is the slice.
ATTRIBUTES = struct.Struct("=IIQiIQQQ")
RESET_ON_FORK = 1
SHORT, LONG = 100_000, 100_000_000  # nanoseconds, the least and the most that Linux takes


def ask_for_short_slices() -> bool:
    """Ask for a thread whose turns are short, and for whose turn somebody waits. False where the kernel knows none."""
    return _ask(SHORT)


def ask_for_long_slices() -> bool:
    """Ask for a thread that everybody else may interrupt. False where the kernel knows none."""
    return _ask(LONG)


def _ask(nanoseconds: int) -> bool:
    """Ask for this thread alone: those that it starts have the usual slices."""
    if not GET:
        return False
    with contextlib.suppress(OSError, AttributeError):
        call: Any = ctypes.CDLL(None, use_errno=True).syscall
        found = ctypes.create_string_buffer(ATTRIBUTES.size)
        if call(GET, 0, found, ATTRIBUTES.size, 0):
            return False
        _, policy, flags, nice, priority, *_ = ATTRIBUTES.unpack(found.raw)
        asked = ATTRIBUTES.pack(ATTRIBUTES.size, policy, flags | RESET_ON_FORK, nice, priority, nanoseconds, 0, 0)
        return not call(SET, 0, asked, 0)
    return False
