"""Slices that a thread asks Linux for, read back from it: those of the thread alone."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import pytest

from workloads.pod import slices


def slice_of_this_thread() -> int:
    """Nanoseconds, by the kernel's own word."""
    found = ctypes.create_string_buffer(slices.ATTRIBUTES.size)
    assert not ctypes.CDLL(None).syscall(slices.GET, 0, found, slices.ATTRIBUTES.size, 0)
    return int(slices.ATTRIBUTES.unpack(found.raw)[5])


def on_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


@pytest.mark.parametrize("asked", [slices.ask_for_short_slices, slices.ask_for_long_slices])
def test_a_thread_has_the_slices_that_it_asks_for_and_those_it_starts_have_not(asked: Callable[[], bool]) -> None:
    """The processes that read had short ones, and the loop, for whose turn everybody waits, had not."""
    found: list[int] = []

    def work() -> None:
        if asked():
            found.append(slice_of_this_thread())
            on_a_thread(lambda: found.append(slice_of_this_thread()))

    on_a_thread(work)
    if not found or not found[0]:
        pytest.skip("this kernel knows no slices")
    wanted = slices.SHORT if asked is slices.ask_for_short_slices else slices.LONG
    assert found[0] == wanted != found[1]
