"""vLLM as an engine: its own server as a process of this pod, on an address that only the pod reaches.

This server keeps what is its own (tokenizing, queue, stop strings, drains, probes) and asks for tokens by numbers. The
program is `vllm` of the image, never the model's code: trust_remote_code stays off.
"""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import Sequence
from typing import Any

import orjson

from slipway.api.serving.generation import Adapter, Generation
from workloads import storage
from workloads.errors import BadInput, Unavailable
from workloads.serve.generation.engines.child import PATIENCE, ChildEngine
from workloads.serve.generation.engines.http_client import Refused, asked, events
from workloads.serve.generation.messages import EngineFacts, EngineStatus, Piece, Prompt

ASK_SECONDS = 0.5  # between two questions whether it has loaded
STATUS_SECONDS = 2.0
END_SECONDS = 1.0  # in which a process that broke off has ended
FIGURE = re.compile(r"^(vllm:[a-z_]+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)
BLOCKS = re.compile(r'block_size="(\d+)".*num_gpu_blocks="(\d+)"|num_gpu_blocks="(\d+)".*block_size="(\d+)"')
# Its words for number formats of keys and values.
PRECISIONS = {"auto": "auto", "f16": "float16", "bf16": "bfloat16", "fp8": "fp8"}


class VllmEngine(ChildEngine):
    """vLLM's server for one folder of Hugging Face's."""

    def __init__(  # noqa: PLR0913 (what a server is started with)
        self,
        folder: str,
        name: str,
        generation: Generation,
        context: int,
        adapters: Sequence[Adapter] = (),
        command: Sequence[str] = ("vllm", "serve"),
        patience: float = PATIENCE,
        *,
        cache: int | None = None,
    ) -> None:
        """`command`: another program that takes vLLM's arguments and speaks as it does. `cache`: see arguments."""
        super().__init__("vllm", patience)
        self._name = name
        self._adapters = list(adapters)
        self._port = 0
        self._works: dict[int, asyncio.Task[None]] = {}
        self._command = [*command, folder, *arguments(name, generation, context, cache)]

    async def _spawn(self) -> asyncio.subprocess.Process:
        self._port = _free_port()
        command = [*self._command, "--port", str(self._port)]
        if self._adapters:
            named = [f"{one.name}={await asyncio.to_thread(storage.fetch, str(one.uri))}" for one in self._adapters]
            command += ["--enable-lora", "--max-loras", str(len(named)), "--lora-modules", *named]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, start_new_session=True, env={**os.environ, "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
            )
        except FileNotFoundError:
            raise BadInput(f"engine vllm: this image has no program {command[0]}: set predictor.image") from None
        try:
            await self._loaded(process)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        return process

    async def _loaded(self, process: asyncio.subprocess.Process) -> None:
        while True:
            if process.returncode is not None:
                raise Unavailable(f"vLLM ended while it was loading, with {process.returncode}: its log says why")
            with contextlib.suppress(OSError, Refused):
                async with asked(self._port, "/health"):
                    break
            await asyncio.sleep(ASK_SECONDS)
        version = "unknown"
        with contextlib.suppress(OSError, Refused, ValueError, LookupError, TypeError):
            async with asked(self._port, "/version") as reader:
                version = str(orjson.loads(await reader.read(1 << 16))["version"])[:64]
        page = await self._page()
        found = BLOCKS.search(page)
        sizes = [int(one) for one in found.groups() if one] if found else [0, 0]
        self.facts = EngineFacts("vllm", version, sizes[0] * sizes[1], 0, echoes=True)

    async def _page(self) -> str:
        with contextlib.suppress(OSError, Refused):
            async with asked(self._port, "/metrics") as reader:
                return (await reader.read()).decode(errors="replace")
        return ""

    async def _hear(self, process: asyncio.subprocess.Process) -> None:
        watching = asyncio.create_task(self._watched())
        try:
            await process.wait()
        finally:
            watching.cancel()
            # Its own processes hold the model's memory, and outlive one that was killed.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    async def _watched(self) -> None:
        while True:
            figures = {name: float(value) for name, value in FIGURE.findall(await self._page())}
            self.status = EngineStatus(
                figures.get("vllm:kv_cache_usage_perc", 0.0),
                int(figures.get("vllm:num_requests_running", 0)),
                int(figures.get("vllm:num_preemptions_total", 0)),
            )
            await asyncio.sleep(STATUS_SECONDS)

    def _send(self, prompt: Prompt) -> None:
        task = asyncio.create_task(self._answered(prompt))
        self._works[prompt.id] = task
        task.add_done_callback(lambda _: self._works.pop(prompt.id, None))

    async def _answered(self, prompt: Prompt) -> None:
        try:
            async with asked(self._port, "/v1/completions", body(prompt, self._name)) as reader:
                echoed = len(prompt.tokens) if prompt.sampling.echo else 0
                async for event in events(reader):
                    if self._event(prompt.id, event, echoed):
                        return
                    echoed = 0  # the first event has it all
            await self._broke(prompt.id, "vLLM ended the stream before the answer")
        except Refused as error:
            self._piece(prompt.id, Piece(error=f"vLLM refused it with {error.status}: {error}"))
        except (OSError, ValueError) as error:
            await self._broke(prompt.id, f"vLLM did not answer: {error}")

    async def _broke(self, number: int, words: str) -> None:
        """End an answer that broke off, unless the process has ended: then all of them are told so at once."""
        process = self._process
        with contextlib.suppress(TimeoutError):
            if process is None or await asyncio.wait_for(process.wait(), END_SECONDS) is not None:
                return
        self._piece(number, Piece(error=words))

    def _event(self, number: int, event: dict[str, Any], echoed: int) -> bool:
        """Take one event, which begins with so many tokens of the prompt; True when it ends the answer."""
        if "error" in event:
            self._piece(number, Piece(error=str(event["error"])[:500]))
            return True
        for choice in event.get("choices", ()):
            tokens = choice.get("token_ids") or []
            values = [float(one or 0.0) for one in (choice.get("logprobs") or {}).get("token_logprobs", [])]
            finish = choice.get("finish_reason") or ""
            piece = Piece(tokens[echoed:], values[echoed : len(tokens)], prompt=values[:echoed], finish=finish)
            self._piece(number, piece)
            if finish:
                return True
        return False

    def _forget(self, number: int) -> None:
        if (task := self._works.pop(number, None)) is not None:
            task.cancel()

    def _leave(self, process: asyncio.subprocess.Process) -> None:
        process.terminate()


def arguments(name: str, generation: Generation, context: int, cache: int | None = None) -> list[str]:
    """vLLM's command line for a service's settings.

    `cache`: bytes of keys and values in the memory of a CPU, of which vLLM would take nearly all that the machine has;
    None on accelerators. On CPUs no prompt is read in pieces: that kills vLLM 0.32 where the answer has a seed, which
    each of ours has ("CPU Generator does not use offset").
    """
    batched = max(generation.max_batched_tokens, generation.max_sequences, context if cache is not None else 0)
    arguments = ["--host", "127.0.0.1", "--served-model-name", name, "--max-model-len", str(context)]
    arguments += ["--max-num-seqs", str(generation.max_sequences)]
    arguments += ["--max-num-batched-tokens", str(batched)]
    arguments += ["--no-enable-chunked-prefill"] if cache is not None else []
    arguments += ["--tensor-parallel-size", str(generation.tensor_parallel), "--generation-config", "vllm"]
    arguments += ["--enable-prefix-caching" if generation.prefix_caching else "--no-enable-prefix-caching"]
    precision = generation.kv_cache.precision.value
    if precision not in PRECISIONS:
        raise BadInput(f"kvCache.precision {precision} is OpenVINO's: vLLM has {', '.join(PRECISIONS)}")
    arguments += ["--kv-cache-dtype", PRECISIONS[precision]]
    memory = generation.kv_cache.bytes or cache
    if memory is not None:
        arguments += ["--kv-cache-memory-bytes", str(memory)]
    return arguments


def body(prompt: Prompt, name: str) -> dict[str, Any]:
    """The request for one answer, tokens in and tokens out."""
    asked_for = prompt.sampling
    fields: dict[str, Any] = {
        "model": prompt.adapter or name,
        "prompt": list(prompt.tokens),
        "max_tokens": asked_for.max_tokens,
        "min_tokens": asked_for.min_tokens,
        "temperature": asked_for.temperature,
        "top_p": asked_for.top_p,
        "top_k": asked_for.top_k or -1,
        "min_p": asked_for.min_p,
        "seed": asked_for.seed,
        "presence_penalty": asked_for.presence_penalty,
        "frequency_penalty": asked_for.frequency_penalty,
        "repetition_penalty": asked_for.repetition_penalty,
        "ignore_eos": asked_for.ignore_end,
        "stop_token_ids": list(asked_for.stop_tokens) if not asked_for.ignore_end else [],
        "stream": True,
        "logprobs": 0,  # of the chosen token
        "return_token_ids": True,
        "add_special_tokens": False,
        "echo": asked_for.echo,
    }
    if asked_for.grammar is not None:
        fields["structured_outputs"] = {"grammar": asked_for.grammar}
    return fields


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
