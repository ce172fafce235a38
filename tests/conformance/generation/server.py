"""A real generation server for tests: what clients of OpenAI's API see, and the engine's process behind it."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import Any

import openai

from tests.conformance.server import Answer, Server

READY = re.compile(r"ready: http://[^:]+:(\d+)/v1 serves (\S+)")
PROMPT = "The Python standard library provides"


class GenerationServer(Server):
    """`python -m workloads serve` with an InferenceService document that says `generation`."""

    ready = READY

    def __init__(self, folder: Path, model: Path, generation: dict[str, Any], vllm: str = "", **engine: Any) -> None:
        """`vllm`: the program, for that engine."""
        predictor = {"model": {"uri": f"file://{model}"}, "generation": generation}
        drain = {"readinessLeadSeconds": 0, "timeoutSeconds": 20}
        document = {"kind": "InferenceService", "metadata": {"name": "small"}}
        chosen = {"name": "vllm"} if vllm else {"threads": 1}
        document |= {"spec": {"predictor": {**predictor, "drain": drain, "engine": {**chosen, **engine}}}}
        config = folder / "service.json"
        config.write_text(json.dumps(document))
        self.child = "vllm" if vllm else "openvino_process"
        where = {"PATH": f"{Path(vllm).parent}:{os.environ['PATH']}"} if vllm else {}
        super().__init__(folder / "log", "--config", str(config), env=where, seconds=600 if vllm else None)

    @property
    def client(self) -> openai.OpenAI:
        """OpenAI's own client, unmodified."""
        return openai.OpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none", max_retries=0, timeout=60)

    @property
    def asynchronous(self) -> openai.AsyncOpenAI:
        """The same for many requests at once."""
        return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{self.port}/v1", api_key="none", max_retries=0)

    def complete(self, prompt: Any = PROMPT, **said: Any) -> Answer:
        """POST /v1/completions as JSON."""
        body = {"model": "small", "prompt": prompt, "max_tokens": 8, "temperature": 0, **said}
        return self.ask("POST", "/v1/completions", json.dumps(body).encode())

    def chat(self, words: str = "hi", **said: Any) -> Answer:
        """POST /v1/chat/completions as JSON."""
        body = {"model": "small", "messages": [{"role": "user", "content": words}], "max_tokens": 8, **said}
        return self.ask("POST", "/v1/chat/completions", json.dumps(body).encode())

    def figure(self, name: str) -> float:
        """One of /metrics."""
        page = self.ask("GET", "/metrics").body.decode()
        found = re.search(rf"^{re.escape(name)}(?:\{{[^}}]*\}})? (\S+)$", page, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    @property
    def engine(self) -> int:
        """Number of the engine's process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if self.child.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        return 0

    def leave_early(self, body: dict[str, Any]) -> None:
        """Ask for a stream, read its beginning, and cut the connection."""
        text = json.dumps({"model": "small", "prompt": PROMPT, "stream": True, **body}).encode()
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as one:
            one.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            assert one.recv(200).startswith(b"HTTP/1.1 200")
