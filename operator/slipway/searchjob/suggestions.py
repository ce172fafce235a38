"""Suggestions of Optuna from a process of its own: one at a time, for a bounded time, whatever the search asks for."""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from slipway.api.common.types import Reason
from slipway.api.search.paths import Value
from slipway.runtime.client.errors import Transient
from slipway.searchjob.record import Record

# A start takes 0.3 s, and 300 trials of 16 parameters another tenth; a busy node takes several times that.
SECONDS = 20.0
MODULE = "slipway.searchjob.sampler"


class Suggestions:
    """Optuna in a process that lives for one question. Two searches that ask at once wait for each other."""

    def __init__(self, argv: Sequence[str] = (sys.executable, "-m", MODULE), seconds: float = SECONDS) -> None:
        self._argv = tuple(argv)
        self._seconds = seconds
        self._one_at_a_time = asyncio.Lock()

    async def ask(self, spec: Mapping[str, Any], records: Sequence[Record], count: int) -> list[dict[str, Value]]:
        """Parameters of the next trials. Transient where the process fails or takes too long."""
        request = {"spec": spec, "trials": [record.wire() for record in records], "count": count}
        async with self._one_at_a_time:
            code, out, words = await self._run(json.dumps(request).encode())
        if code != 0:
            last = words.decode(errors="replace").strip().splitlines()[-1:] or ["no words"]
            if "optuna" in last[0] and "No module" in last[0]:
                last = ["this operator's image has no Optuna: install the extra `search`"]
            raise Transient(Reason.RECONCILE_ERROR, f"no parameters were chosen (exit code {code}): {last[0]}")
        found: list[dict[str, Value]] = json.loads(out)
        return found

    async def _run(self, request: bytes) -> tuple[int, bytes, bytes]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self._argv, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            async with asyncio.timeout(self._seconds):
                out, words = await process.communicate(request)
        except TimeoutError:
            raise Transient(
                Reason.RECONCILE_ERROR, f"no parameters were chosen within {self._seconds:g} s: is the node overloaded?"
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out, words
