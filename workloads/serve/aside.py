"""Threads for what takes a while and needs no interpreter: to look at a large body, to inflate one.

So few that they leave cores to the loop, and none holds one that the loop wants.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

from workloads.pod.cpus import cpu_limit
from workloads.pod.slices import ask_for_long_slices

P = ParamSpec("P")
R = TypeVar("R")


async def aside(work: Callable[P, R], *args: P.args, **named: P.kwargs) -> R:
    """Result of `work`, done on a thread; one after the other where there are two cores."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), partial(work, *args, **named))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(math.ceil(cpu_limit() / 2), "aside", ask_for_long_slices)
