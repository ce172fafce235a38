"""Program of OpenVINO GenAI's engine: requests from stdin, tokens to stdout, as lines of JSON. Run by openvino.py.

A prompt whose log-probabilities are asked for is computed alone: beside others' answers the library (2026.4.1) tells
those of other tokens. One thread steps the pipeline, another reads. An exception of `step` leaves the pipeline dead for
everybody (it says "already in scheduling phase" for ever): the program ends then, and is started again.
"""

import os
import queue
import sys
import threading
from collections import deque
from typing import Any

import orjson

BLOCK = 32  # tokens of a block of the cache, on CPUs
STATUS_STEPS = 16
NO_TOKEN = 2**40


class Pipeline:
    """The pipeline and its requests."""

    def __init__(self, asked: dict[str, Any]) -> None:
        import numpy as np
        import openvino
        import openvino_genai as genai

        self._genai, self._numpy, self._openvino = genai, np, openvino
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = asked["blocks"]
        scheduler.max_num_batched_tokens = asked["batchedTokens"]
        scheduler.max_num_seqs = asked["sequences"]
        scheduler.dynamic_split_fuse = True
        scheduler.enable_prefix_caching = asked["prefixCaching"]
        self._pipe = genai.ContinuousBatchingPipeline(asked["folder"], scheduler, "CPU", asked["properties"], {})
        self._handles: dict[int, Any] = {}
        self._echoes: dict[int, int] = {}  # length of the prompt that comes back first
        self._later: deque[dict[str, Any]] = deque()
        self._alone = 0  # the request that must have no other beside it
        self.version = genai.get_version()

    @property
    def busy(self) -> bool:
        """True while there is something to step."""
        return bool(self._handles)

    def take(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """One message; returns what is to be said at once."""
        if "cancel" in message:
            self._later = deque(one for one in self._later if one["id"] != message["id"])
            self._begin(message)
            return self.begin()
        self._later.append(message)
        return self.begin()

    def begin(self) -> list[dict[str, Any]]:
        """Begin those that may, in their order; returns what is to be said of them at once."""
        answers = []
        while self._later and self._alone not in self._handles:
            alone = self._later[0]["sampling"]["echo"]
            if alone and self._handles:
                break
            message = self._later.popleft()
            self._alone = message["id"] if alone else 0
            if (answer := self._begin(message)) is not None:
                answers.append(answer)
        return answers

    def _begin(self, message: dict[str, Any]) -> dict[str, Any] | None:
        number = message["id"]
        if "cancel" in message:
            handle = self._handles.pop(number, None)
            self._echoes.pop(number, None)
            if handle is not None:
                handle.cancel()
                # The pipeline lets go of its memory when it is stepped next.
                self._pipe.step()
            return None
        try:
            ids = self._openvino.Tensor(self._numpy.array([message["tokens"]], dtype=self._numpy.int64))
            self._handles[number] = self._pipe.add_request(number, ids, self._config(message["sampling"]))
            if message["sampling"]["echo"]:
                self._echoes[number] = len(message["tokens"])
        except Exception as error:  # refused by the library, in its words; nothing of it is in the pipeline
            return {"id": number, "error": (str(error).strip().splitlines() or [repr(error)])[-1][:500]}
        return None

    def _config(self, asked: dict[str, Any]) -> Any:
        config = self._genai.GenerationConfig()
        config.max_new_tokens = asked["max_tokens"]
        config.min_new_tokens = asked["min_tokens"]
        config.ignore_eos = asked["ignore_end"]
        config.logprobs = 1
        config.echo = asked["echo"]
        config.presence_penalty = asked["presence_penalty"]
        config.frequency_penalty = asked["frequency_penalty"]
        config.repetition_penalty = asked["repetition_penalty"]
        ends = asked["stop_tokens"]
        if ends and not asked["ignore_end"]:
            config.eos_token_id = ends[0]
            config.stop_token_ids = set(ends)
        else:  # it makes one of -1 itself, which it then refuses
            config.eos_token_id, config.stop_token_ids = NO_TOKEN, {NO_TOKEN}
        if asked["temperature"] > 0:
            config.do_sample = True
            config.temperature = asked["temperature"]
            config.top_p = asked["top_p"]
            if asked["top_k"]:
                config.top_k = asked["top_k"]
            if asked["min_p"]:
                config.min_p = asked["min_p"]
            config.rng_seed = asked["seed"]
        if asked["grammar"] is not None:
            config.structured_output_config = self._genai.StructuredOutputConfig(grammar=asked["grammar"])
        return config

    def step(self) -> list[dict[str, Any]]:
        """Make one token for each request that runs; returns what has come."""
        self._pipe.step()
        answers = []
        for number, handle in list(self._handles.items()):
            made = self._read(number, handle)
            if made is not None:
                answers.append(made)
        return answers

    def _read(self, number: int, handle: Any) -> dict[str, Any] | None:
        tokens: list[int] = []
        values: list[float] = []
        finish = ""
        while handle.can_read():
            for output in handle.read().values():
                tokens += output.generated_ids
                values += output.generated_log_probs
                finish = {"STOP": "stop", "LENGTH": "length"}.get(output.finish_reason.name, finish)
        status = handle.get_status().name
        if status != "RUNNING":
            # IGNORED: the cache has no room for more of this one answer.
            finish = finish or "length"
            del self._handles[number]
        if not tokens and not finish:
            return None
        made = {"id": number, **({"finish": finish} if finish else {})}
        size = self._echoes.pop(number, 0) if tokens else 0
        if size:
            made["prompt"], tokens, values = values[:size], tokens[size:], values[size:]
        return {**made, "tokens": tokens, "logprobs": values}

    def status(self) -> dict[str, Any]:
        """Figures of the pipeline."""
        found = self._pipe.get_metrics()
        return {
            # Of the last step, in which the last one still had its blocks.
            "cache": found.cache_usage / 100 if self._handles else 0.0,
            "running": found.scheduled_requests,
            "cacheBytes": found.kv_cache_size_in_bytes,
        }


def _reader(inbox: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    for line in sys.stdin.buffer:
        inbox.put(orjson.loads(line))
    inbox.put(None)


def main() -> None:
    """Answer until stdin is closed."""
    # Libraries print to the standard output: what is said goes through a copy that only this program has.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)

    def say(*messages: dict[str, Any]) -> None:
        out.write(orjson.dumps(messages) + b"\n")

    asked = orjson.loads(sys.stdin.buffer.readline())
    try:
        pipeline = Pipeline(asked)
    except Exception as error:
        say({"refused": str(error).strip()[-1000:]})
        return
    say({"ready": {"version": pipeline.version, **pipeline.status()}})
    inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_reader, args=(inbox,), daemon=True).start()
    _work(pipeline, inbox, say)


def _work(pipeline: Pipeline, inbox: "queue.SimpleQueue[dict[str, Any] | None]", say: Any) -> None:
    steps = 0
    while True:
        while not pipeline.busy or not inbox.empty():
            message = inbox.get()
            if message is None:
                return
            if answers := pipeline.take(message):
                say(*answers)
            if "cancel" in message and not pipeline.busy:  # no step will tell that nothing is used any more
                say({"status": pipeline.status()})
        answers = [*pipeline.step(), *pipeline.begin()]
        steps += 1
        if not pipeline.busy or steps % STATUS_STEPS == 0:
            answers.append({"status": pipeline.status()})
        if answers:
            say(*answers)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        sys.stderr.write(f"the engine ends: {str(error).strip()[-500:]}\n")
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)
