"""One process that runs own code: started, asked, killed.

Its death is seen even while a child of it holds the socket.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from workloads.errors import BadInput
from workloads.serve.apart.talk import BUFFER, receive, send
from workloads.serve.http.message import Buffer
from workloads.serve.settings import TransformChoice
from workloads.serve.transform.forms import POSTPROCESS, PREPROCESS

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
LAST_WORDS = 0.2  # seconds in which an answer may still lie in the socket of a process that has ended


class WorkerEnded(Exception):  # noqa: N818  (no error of the server's)
    """The process has ended, or says what cannot be. `str()` says how."""


class Worker:
    """Used for one request at a time, from the event loop."""

    def __init__(self, choice: TransformChoice, most: int) -> None:
        """`most` bytes of an answer."""
        self._choice = choice
        self._most = most
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._gone: asyncio.Future[int] | None = None
        self.failures = 0  # to start, in a row

    @property
    def number(self) -> int:
        """Number of the process."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Returns when the callables are imported. BadInput in words where they cannot be."""
        choice = self._choice
        calls = {PREPROCESS: choice.preprocess, POSTPROCESS: choice.postprocess}
        calls = {step: name for step, name in calls.items() if name}
        setup = {"calls": calls, "path": choice.path, "memory": choice.memory, "most": self._most}
        names = " and ".join(calls.values())
        try:
            async with asyncio.timeout(choice.startup):
                self._spawn()
                said, _ = await self.exchange(setup, [])
        except TimeoutError as error:
            await self.end()
            raise BadInput(f"transform: importing {names} has not ended within {choice.startup:g} s") from error
        except WorkerEnded as error:
            await self.end()
            raise BadInput(f"transform: the process that imported {names} {error}") from error
        except BaseException:
            await self.end()
            raise
        if "error" in said:
            await self.end()
            raise BadInput(said["error"])

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ours
        with theirs:
            for one in (ours, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            ours.setblocking(False)
            command = [sys.executable, "-m", "workloads.serve.transform.process", str(theirs.fileno())]
            # Not on a thread: whoever is cancelled meanwhile would leave it behind.
            process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**ENVIRONMENT, **os.environ},
            )
        self._process = process
        loop = asyncio.get_running_loop()
        self._gone = gone = loop.create_future()

        def tell(code: int) -> None:
            if not gone.done():
                gone.set_result(code)

        def wait() -> None:
            code = process.wait()
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(tell, code)

        threading.Thread(target=wait, name=f"transform-{process.pid}", daemon=True).start()

    async def exchange(self, said: dict[str, Any], parts: Sequence[Buffer]) -> tuple[dict[str, Any], memoryview]:
        """Reply of the process to a request. Raises Ended; whoever gets that, or is cancelled, must `end` it."""
        if self._socket is None or self._gone is None:
            raise WorkerEnded("is not there")
        talk = asyncio.ensure_future(self._talk(self._socket, said, parts))
        try:
            either: set[asyncio.Future[Any]] = {talk, self._gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not talk.done():
                await asyncio.wait({talk}, timeout=LAST_WORDS)
            if not talk.done():
                raise WorkerEnded(_how(self._gone.result()))
            try:
                return talk.result()
            except (EOFError, OSError) as error:
                await asyncio.wait({self._gone}, timeout=LAST_WORDS)
                raise WorkerEnded(
                    _how(self._gone.result()) if self._gone.done() else "has closed its socket"
                ) from error
            except (ValueError, KeyError, TypeError) as error:
                raise WorkerEnded(f"gave {error} where an answer belongs") from error
        finally:
            if talk.cancel():
                await asyncio.wait({talk})

    async def _talk(
        self, connection: socket.socket, said: dict[str, Any], parts: Sequence[Buffer]
    ) -> tuple[dict[str, Any], memoryview]:
        await send(connection, said, parts)
        found, payload = await receive(connection, self._most)
        if not isinstance(found, dict):
            raise ValueError("a list")
        return found, payload

    def kill(self) -> None:
        """Kill the process and its children, at once."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.kill()
        if self._gone is not None:
            await asyncio.wait({self._gone}, timeout=1)


def _how(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
