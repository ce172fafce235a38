"""Time slice: how long a thread may keep its core before one that wakes up gets it, asked of Linux 6.12 and newer.

Priorities alone do not say it: since Linux 6.6 a thread that has a core keeps it for some milliseconds, whatever its
nice value, and a server's answer waits for as long. Older kernels, and others, take no notice.
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
SHORT = 100_000  # nanoseconds, the least that Linux takes


def ask_for_short_slices() -> bool:
    """Ask for this thread alone: those that it starts have the usual slices. False where the kernel knows none."""
    if not GET:
        return False
    with contextlib.suppress(OSError, AttributeError):
        call: Any = ctypes.CDLL(None, use_errno=True).syscall
        found = ctypes.create_string_buffer(ATTRIBUTES.size)
        if call(GET, 0, found, ATTRIBUTES.size, 0):
            return False
        _, policy, flags, nice, priority, *_ = ATTRIBUTES.unpack(found.raw)
        asked = ATTRIBUTES.pack(ATTRIBUTES.size, policy, flags | RESET_ON_FORK, nice, priority, SHORT, 0, 0)
        return not call(SET, 0, asked, 0)
    return False
