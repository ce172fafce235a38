"""Engine in a process of its own, replaced when it dies or hangs: what OpenVINO's and vLLM's have in common.

Whoever's tokens it was making gets an error; answers that were added while it is being replaced begin afterwards. One
that dies again and again without an answer between is given up: only a new pod may help then.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod

from workloads.errors import BadInput, Unavailable
from workloads.serve.generation.messages import EngineFacts, EngineStatus, Piece, Prompt, Receiver

LOG = logging.getLogger("slipway.serve.engine")

LIVES = 5  # deaths in a row, with no answer between
PAUSE = 0.2  # seconds before the second start; doubled each time
PATIENCE = 300.0  # seconds without a word while there is work
CLOSING = 2.0


class ChildEngine(ABC):
    """An engine's process. A subclass starts it (`_spawn`), hears it (`_hear`), and tells it what to do."""

    def __init__(self, name: str, patience: float = PATIENCE) -> None:
        self.facts = EngineFacts(name, "")
        self.status = EngineStatus()
        self.restarts = 0
        self.broken = ""
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._receivers: dict[int, Receiver] = {}
        self._later: dict[int, Prompt] = {}  # added while there is no process
        self._deaths = 0
        self._heard = time.monotonic()
        self._closing = False
        self._watch: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int:
        """Number of the process; 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> EngineFacts:
        """Load the model. BadInput: the engine refuses it, in its words."""
        await self._begin()
        self._task = asyncio.create_task(self._live())
        self._look()
        return self.facts

    def add(self, prompt: Prompt, receiver: Receiver) -> None:
        """Begin an answer."""
        if not self._receivers:
            self._heard = time.monotonic()  # it had nothing to say
        self._receivers[prompt.id] = receiver
        if self._process is None:
            self._later[prompt.id] = prompt
            return
        self._send(prompt)

    def cancel(self, number: int) -> None:
        """Forget an answer."""
        if self._receivers.pop(number, None) is not None and self._later.pop(number, None) is None:
            self._forget(number)

    async def close(self) -> None:
        """End the process."""
        self._closing = True
        if self._watch is not None:
            self._watch.cancel()
        process = self._process
        if process is not None and process.returncode is None:
            self._leave(process)
            try:
                await asyncio.wait_for(process.wait(), CLOSING)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._task is not None:
            self._task.cancel()

    @abstractmethod
    async def _spawn(self) -> asyncio.subprocess.Process:
        """Start the process and wait until it has loaded the model."""

    @abstractmethod
    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        """Take what the process says until it ends."""

    @abstractmethod
    def _send(self, prompt: Prompt) -> None:
        """Tell the process to begin an answer."""

    @abstractmethod
    def _forget(self, number: int) -> None:
        """Tell the process that nobody waits for an answer."""

    @abstractmethod
    def _leave(self, process: asyncio.subprocess.Process) -> None:
        """Tell the process to end."""

    def _piece(self, number: int, piece: Piece) -> None:
        """Give a piece to whoever waits for it."""
        self._heard = time.monotonic()
        receiver = self._receivers.get(number)
        if receiver is None:
            return
        if piece.finish or piece.error:
            del self._receivers[number]
        if piece.finish:
            self._deaths = 0
        receiver.piece(piece)

    async def _begin(self) -> None:
        self._process = await self._spawn()
        self._heard = time.monotonic()
        later, self._later = self._later, {}
        for prompt in later.values():
            self._send(prompt)

    async def _live(self) -> None:
        """Hear the process, and replace it, until the end."""
        while not (self._closing or self.broken):
            process = self._process
            if process is None:
                await self._again()
                continue
            await self._hear(process)
            if not self._closing:
                await self._died(process)

    async def _died(self, process: asyncio.subprocess.Process) -> None:
        self._process = None
        if process.returncode is None:
            process.kill()  # what it says is no language of ours any more
        code = await process.wait()
        self.restarts += 1
        self.status = EngineStatus()
        LOG.error("the engine's process ended with %s, %d answers under way", code, len(self._receivers))
        self._fail(f"the engine's process ended ({code}) and is being replaced: try again")

    def _fail(self, words: str) -> None:
        for number in [number for number in self._receivers if number not in self._later]:
            self._piece(number, Piece(error=words))

    async def _again(self) -> None:
        """One more start."""
        self._deaths += 1
        if self._deaths > LIVES:
            self.broken = f"the engine's process ended {self._deaths} times in a row"
            self._later.clear()
            self._fail(self.broken)
            return
        await asyncio.sleep(PAUSE * 2 ** (self._deaths - 2) if self._deaths > 1 else 0)
        try:
            await self._begin()
            LOG.info("the engine is back")
        except (BadInput, Unavailable, OSError) as error:
            LOG.error("the engine does not start again: %s", error)

    def _look(self) -> None:
        """End a process that hangs; the rest is as if it had died."""
        self._watch = asyncio.get_running_loop().call_later(min(5.0, self._patience / 4), self._look)
        process = self._process
        if process is not None and self._receivers and time.monotonic() - self._heard > self._patience:
            LOG.error("the engine said nothing for %g s while it had work: it is ended", self._patience)
            process.kill()
