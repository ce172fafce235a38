"""OpenVINO GenAI's engine: openvino_process.py, spoken to by lines of JSON."""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import orjson

from workloads.errors import BadInput, Unavailable
from workloads.serve.generation.engines.child import PATIENCE, ChildEngine
from workloads.serve.generation.messages import EngineFacts, EngineStatus, Piece, Prompt

PROGRAM = "workloads.serve.generation.engines.openvino_process"
LINE = 64 << 20  # bytes of one message


class OpenVinoEngine(ChildEngine):
    """`asked` is what the program is told at the start."""

    def __init__(self, asked: dict[str, Any], command: Sequence[str] = (), patience: float = PATIENCE) -> None:
        """`command`: another program that speaks as openvino_process does."""
        super().__init__("openvino", patience)
        self._asked = asked
        self._command = list(command) or [sys.executable, "-m", PROGRAM]

    async def _spawn(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LINE
        )
        try:
            _write(process, self._asked)
            line = await _lines(process).readline()
            said: dict[str, Any] = orjson.loads(line)[0] if line else {}
        except orjson.JSONDecodeError:
            process.kill()
            raise Unavailable("the engine's process says what is no message of ours") from None
        except BaseException:
            process.kill()
            raise
        if "refused" in said:
            await process.wait()
            raise BadInput(f"OpenVINO GenAI cannot load the model: {said['refused']}")
        if "ready" not in said:
            raise Unavailable(f"the engine's process ended while it was loading, with {await process.wait()}")
        asked, ready = self._asked, said["ready"]
        tokens = asked["blocks"] * asked["blockTokens"]
        details = {"properties": asked["properties"]}
        self.facts = EngineFacts(
            "openvino", ready["version"], tokens, ready["cacheBytes"], not asked["prefixCaching"], details
        )
        return process

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        lines = _lines(process)
        while line := await lines.readline():
            try:
                messages = orjson.loads(line)
            except orjson.JSONDecodeError:  # it died in the middle of a line
                return
            for message in messages:
                self._take(message)

    def _take(self, message: dict[str, Any]) -> None:
        if "status" in message:
            said = message["status"]
            self.status = EngineStatus(said["cache"], said["running"])
            return
        piece = Piece(
            message.get("tokens", ()),
            message.get("logprobs", ()),
            message.get("prompt", ()),
            message.get("finish", ""),
            message.get("error", ""),
        )
        self._piece(message["id"], piece)

    def _send(self, prompt: Prompt) -> None:
        said = {"id": prompt.id, "tokens": list(prompt.tokens), "sampling": asdict(prompt.sampling)}
        self._tell(said)

    def _forget(self, number: int) -> None:
        self._tell({"id": number, "cancel": True})

    def _leave(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()

    def _tell(self, message: dict[str, Any]) -> None:
        if self._process is not None:
            _write(self._process, message)


def _write(process: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
    if process.stdin is not None and not process.stdin.is_closing():
        process.stdin.write(orjson.dumps(message) + b"\n")


def _lines(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    assert process.stdout is not None  # noqa: S101 (asked for where it is started)
    return process.stdout
