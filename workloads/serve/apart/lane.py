"""A process that works for the server, and the socket to it: what a stranger's bytes become, it becomes there.

A thread would hold the interpreter that everybody's answers need. Used by pool.py and by the pictures.
"""

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workloads.serve.apart.talk import BUFFER, hear, say
from workloads.serve.apart.wire import Job, error_of
from workloads.serve.errors import TooLarge

LOG = logging.getLogger("slipway.serve.apart")

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


class ProcessLane:
    """Process of a module that calls `answer_all`: started when it is needed, and again when it had to be killed.

    One job at a time.
    """

    def __init__(self, module: str, setup: Mapping[str, Any], *arguments: str) -> None:
        """`setup`: JSON that the process is told first; `arguments` of its command line, behind the socket's number."""
        self._module = module
        self._arguments = arguments
        self._setup = dict(setup)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._thread = ThreadPoolExecutor(1, "apart")

    async def exchange(self, job: Job) -> tuple[dict[str, Any], memoryview]:
        """Reply of the process to a job. Whatever goes wrong on the way, this process is not trusted any more."""
        whole = False
        loop = asyncio.get_running_loop()
        try:
            said, payload = await loop.run_in_executor(self._thread, self._talk, job)
            whole = True
        except (OSError, EOFError) as error:
            LOG.warning("a process that reads requests has ended: %s", error or "by itself")
            raise TooLarge("reading this request has ended the process that read it: it may be too large") from error
        finally:
            if not whole:
                await self.end()
        if "error" in said:
            if said["error"] == "EngineFailed":
                LOG.error("a request could not be read: %s", said["words"])
            raise error_of(said)
        return said, payload

    def _talk(self, job: Job) -> tuple[dict[str, Any], memoryview]:
        """Send a job from the thread: a large body is copied in one call, without the interpreter."""
        connection = self._socket or self._start()
        say(connection, job.head(), job.parts)
        job.parts = ()  # what it is read into takes memory enough
        return hear(connection)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            for one in (ours, theirs):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
            command = [sys.executable, "-m", self._module, str(theirs.fileno()), *self._arguments]
            self._process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, env={**os.environ, **ENVIRONMENT}
            )
        self._socket = ours
        say(ours, self._setup, [])
        return ours

    async def end(self) -> None:
        """Kill it, and wait for its thread."""
        if self._process is not None:
            self._process.kill()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # the thread may wait there
        await asyncio.get_running_loop().run_in_executor(self._thread, self._over)

    def _over(self) -> None:
        """Behind whatever the thread does: it may be about to start the process."""
        process, self._process = self._process, None
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
        if process is not None:
            process.kill()
            process.wait()
