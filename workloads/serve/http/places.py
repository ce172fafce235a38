"""Memory for large bodies, taken from the kernel and given back to it by a thread of its own.

To give 64 MiB back takes the kernel 5 ms and more, in which Python's own objects would hold the interpreter; and what
the C library's allocator keeps of large bodies it keeps for good. Used by body.py.
"""

import ctypes
import threading
import weakref
from functools import cache
from queue import SimpleQueue

import numpy as np

# Sizes are whole numbers of it: ctypes keeps a type for each. It is also what is given back at once.
STEP = 1 << 20
READ_AND_WRITE = 3
# Private, anonymous, and not reserved: most of a body that is declared may never come.
FLAGS = 0x2 | 0x20 | 0x4000
FAILED = ctypes.c_void_p(-1).value


def place(size: int) -> memoryview:
    """Zeros, at least `size` bytes of them; untouched ones take no memory. Back they go with the last view of them."""
    whole = -(-max(1, size) // STEP) * STEP
    address = _kernel().mmap(None, whole, READ_AND_WRITE, FLAGS, -1, 0)
    if address is None or address == FAILED:
        raise MemoryError(f"there is no place for {whole} bytes")
    numbers = (ctypes.c_ubyte * whole).from_address(address)
    weakref.finalize(numbers, _gone().put, (address, whole))
    return np.ctypeslib.as_array(numbers).data


@cache
def _kernel() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    numbers = (ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    library.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *numbers)
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return library


@cache
def _gone() -> "SimpleQueue[tuple[int, int]]":
    """Queue of what nobody sees any more. Anything may put into it: a finalizer runs between any two instructions."""
    queue: SimpleQueue[tuple[int, int]] = SimpleQueue()

    def give_back() -> None:
        while True:
            address, size = queue.get()
            # Step by step: while it is at it, the kernel gives no thread of the process other memory.
            for start in range(address, address + size, STEP):
                _kernel().munmap(start, STEP)

    threading.Thread(target=give_back, name="memory", daemon=True).start()
    return queue
