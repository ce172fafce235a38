"""Memory that the C library keeps after it was freed: enough that the next piece of a body takes none from the kernel.

By itself it gives every piece of 128 KiB and more back at once, and each page of the next one costs microseconds: a
quarter of a megabyte costs ten times its copying. Called when the server starts.
"""

import contextlib
import ctypes
import os

# Numbers of mallopt's parameters, and what they become: the same as where a server has freed a tensor of 8 MiB once.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
KEPT, OWN_MAPPING = 16 << 20, 8 << 20
# Whoever sets these knows better.
ENVIRONMENT = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_pieces() -> None:
    """Set it for this process. Other C libraries have no such call, and need none."""
    if any(name in os.environ for name in ENVIRONMENT):
        return
    with contextlib.suppress(AttributeError):
        change = ctypes.CDLL(None).mallopt
        change(TRIM_THRESHOLD, KEPT)
        change(MMAP_THRESHOLD, OWN_MAPPING)
