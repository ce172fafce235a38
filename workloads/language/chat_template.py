"""Rendering of chats by a model's template, which is a program that came with the model: it is given limits.

The template runs in jinja's sandbox, and that in a process of its own with a limit of memory and a deadline; what goes
over them is a BadInput of that chat alone. One process renders for all callers of a ChatTemplate, one at a time.
"""

import contextlib
import json
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.errors import BadInput, Unavailable
from workloads.language.template_process import marks

SECONDS = 5.0  # of one chat; usual ones take a thousandth of one
START_SECONDS = 60.0  # until a new process has imported jinja, on a busy machine
LARGEST = 1 << 20  # characters of a template


@dataclass(frozen=True)
class Rendered:
    """A chat's text, and the spans of it that are an assistant's words where the template marks them."""

    text: str
    spans: list[tuple[int, int]]


class ChatTemplate:
    """A template with its model's special tokens. Call `close` at the end."""

    def __init__(self, source: str, special: Mapping[str, str], seconds: float = SECONDS) -> None:
        """`special`: texts by name, as bos_token. BadInput for a template that is too long."""
        if len(source) > LARGEST:
            raise BadInput(f"the chat template has {len(source)} characters, at most {LARGEST} are read")
        self._source, self._special, self._seconds = source, dict(special), seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, generation: bool = False, tools: Any = None, **more: Any
    ) -> Rendered:
        """The text of a chat. `generation`: with the beginning of the assistant's answer.

        BadInput when the template refuses the chat, is no template, or goes over a limit.
        """
        variables = {**self._special, **more, "messages": list(messages), "add_generation_prompt": generation}
        variables |= {"tools": tools, "documents": None}
        line = (json.dumps({"template": self._source, "variables": variables}) + "\n").encode()
        with self._lock:
            answer = self._answer(line)
        if "error" in answer:
            raise BadInput(f"the chat template refuses this chat: {answer['error']}")
        return self._without_marks(answer["text"])

    def _answer(self, line: bytes) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self._process = self._started()
            if self._line(START_SECONDS) is None:
                raise Unavailable(f"the process that renders chats did not start within {START_SECONDS:g} s")
        writer = threading.Thread(target=_write, args=(self._process, line), daemon=True)
        writer.start()  # a chat may be longer than a pipe holds
        content = self._line(self._seconds)
        writer.join()
        found: dict[str, Any] = {"error": f"it took longer than {self._seconds:g} s, or ended its process"}
        return found if content is None else json.loads(content)

    def _line(self, seconds: float) -> bytes | None:
        """The next line of the process; None, and the process is ended, where it does not come in time."""
        assert self._process is not None  # noqa: S101 (both callers have started it)
        assert self._process.stdout is not None  # noqa: S101
        deadline, content = time.monotonic() + seconds, b""
        while not content.endswith(b"\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = self._process.stdout.read1(1 << 20) if ready else b""  # type: ignore[attr-defined]
            if not chunk:
                self._end()
                return None
            content += chunk
        return content

    def _without_marks(self, text: str) -> Rendered:
        starts, ends = marks(self._nonce)
        plain, spans = "", []
        for number, piece in enumerate(text.replace(ends, starts).split(starts)):
            if number % 2:
                spans.append((len(plain), len(plain) + len(piece)))
            plain += piece
        return Rendered(plain, spans)

    def _started(self) -> "subprocess.Popen[bytes]":
        self._nonce = secrets.token_hex(8)
        program = Path(__file__).with_name("template_process.py")
        return subprocess.Popen(
            [sys.executable, "-I", str(program), self._nonce], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def __enter__(self) -> "ChatTemplate":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _write(process: "subprocess.Popen[bytes]", line: bytes) -> None:
    # A process that ended meanwhile is seen by the reader.
    with contextlib.suppress(OSError, ValueError):
        assert process.stdin is not None  # noqa: S101 (asked for where it is started)
        process.stdin.write(line)
        process.stdin.flush()
