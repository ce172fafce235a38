"""Routes of a generation server: OpenAI's, beside health, metrics and a description as every server has them."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from workloads.serve.app import MODELS, App
from workloads.serve.errors import Invalid, NotFound, NotReady, Outcome, RequestError, outcome_of
from workloads.serve.generation.drift import SCORE, Drift, Seen
from workloads.serve.generation.generator import Generator, Job
from workloads.serve.generation.limits import Limits
from workloads.serve.generation.messages import Sampling
from workloads.serve.generation.openai import errors, intake
from workloads.serve.generation.openai.intake import Intake
from workloads.serve.generation.openai.replies import Voice
from workloads.serve.generation.openai.respond import Collector, Streamer
from workloads.serve.generation.openai.schema import ChatRequest, Common, CompletionRequest, parsed
from workloads.serve.generation.openai.texts import Texts
from workloads.serve.generation.page import page
from workloads.serve.http import Pending, Reply, Request, Stream
from workloads.serve.http.message import COPY, json_reply
from workloads.serve.lifecycle import Lifecycle, Phase
from workloads.serve.protocol.content_encoding import AT_ONCE, coding_of, inflated
from workloads.serve.rest.pending import TaskPending
from workloads.serve.telemetry.metrics import Metrics

MOST_ANSWERS = 512  # of one request


@dataclass(frozen=True)
class Generating:
    """A model that is loaded and proved. `described`: the properties of its description; `adapters` by name."""

    generator: Generator
    texts: Texts
    limits: Limits
    ends: Sequence[int]
    described: dict[str, str]
    adapters: Sequence[str] = ()


@dataclass(frozen=True)
class _Wanted:
    """One request, ready for the engine."""

    taken: Intake
    voice: Voice
    prompts: list[list[int]]
    samplings: list[Sampling]
    tools: Sequence[str]
    adapter: str
    seen: Seen | None
    scores: bool  # a question of the revision that serves, and no client's

    @property
    def count(self) -> int:
        return len(self.prompts) * self.taken.n

    @property
    def prompt_tokens(self) -> int:
        return sum(map(len, self.prompts))


class GenerationApp(App):
    """One language model. `serving` comes when the engine is loaded and has answered the probes."""

    def __init__(self, name: str, version: str, life: Lifecycle, metrics: Metrics, max_body: int) -> None:
        super().__init__(name, version, life, metrics)
        self.serving: Generating | None = None
        self._max_body = max_body
        self._created = int(time.time())
        self.drift = Drift(lambda: self.mirror, lambda: self.serving.limits.context if self.serving is not None else 0)
        metrics.add(self.drift)
        model = MODELS + name.encode()
        kept = (b"/v2", b"/v2/", b"/v2/health/live", b"/v2/health/ready", b"/metrics", MODELS + b"stats")
        self.routes = {path: self.routes[path] for path in kept}
        self.routes |= {
            b"/": {b"GET": page},
            b"/health": {b"GET": self._ready},  # vLLM's
            model: {b"GET": self._describe_model},
            model + b"/ready": {b"GET": self._model_ready},
            model + b"/stats": {b"GET": self._statistics},
            b"/v1/models": {b"GET": self._models},
            b"/v1/models/" + name.encode(): {b"GET": lambda request: json_reply(self._card(name))},
            b"/v1/completions": {b"POST": lambda request: self._begin(request, "completions")},
            b"/v1/chat/completions": {b"POST": lambda request: self._begin(request, "chat")},
        }

    def begin_serving(self, serving: Generating) -> None:
        """Begin to serve."""
        self.serving = serving
        self.life.phase = Phase.READY

    def __call__(self, request: Request) -> "Reply | Pending":
        """Answer as App does; errors of OpenAI's routes in OpenAI's form."""
        try:
            return super().__call__(request)
        except RequestError as error:
            if request.path.startswith(b"/v1/"):
                return errors.reply(error)
            raise

    def _found(self) -> Generating:
        if self.serving is None:
            raise NotReady("the model is loading", 1)
        return self.serving

    @property
    def ready(self) -> bool:
        """True if the engine answers, and the server is not leaving."""
        return self.life.ready and self.serving is not None and not self.broken

    @property
    def broken(self) -> str:
        """Reason why only a new pod can help, or nothing."""
        return self.serving.generator.engine.broken if self.serving is not None else ""

    def statistics(self) -> dict[str, Any]:
        """The protocol's statistics; a row is an answer."""
        from workloads.serve.protocol.statistics import statistics

        self._found()
        return statistics(self.name, self.version, self.metrics)

    def _describe_model(self, _request: Request) -> Reply:
        found = self._found()
        return json_reply(
            {
                "name": self.name,
                "versions": [self.version],
                "platform": "openai",
                "inputs": [],
                "outputs": [],
                "properties": found.described,
            }
        )

    def _card(self, name: str) -> dict[str, Any]:
        found = self._found()
        card = {"id": name, "object": "model", "created": self._created, "owned_by": "slipway"}
        return {**card, "max_model_len": found.limits.context, "parent": self.name if name != self.name else None}

    def _models(self, _request: Request) -> Reply:
        found = self._found()
        return json_reply({"object": "list", "data": [self._card(name) for name in (self.name, *found.adapters)]})

    def _begin(self, request: Request, route: str) -> Pending:
        self._copied(request)
        return TaskPending(self._generated(request, route))

    async def _generated(self, request: Request, route: str) -> Reply:
        """The reply; counted as an inference here, or when its stream ends."""
        asked = time.monotonic()
        try:
            wanted = await self._wanted(request, route)
            if wanted.taken.stream:
                return self._streamed(wanted, route, asked)
            reply = await self._whole(wanted, asked)
            if wanted.scores:
                return reply
        except RequestError as error:
            self.metrics.inferred(route, outcome_of(error))
            self.metrics.ended(error.reason)
            return errors.reply(error)
        except asyncio.CancelledError:
            self.metrics.inferred(route, Outcome.GONE)
            raise
        self._counted(route, asked, wanted.count)
        return reply

    def _counted(self, route: str, asked: float, answers: int) -> None:
        self.metrics.inferred(route, Outcome.ANSWERED)
        self.metrics.answered(time.monotonic() - asked)
        self.metrics.rows += answers
        self.metrics.last = time.time()

    async def _wanted(self, request: Request, route: str) -> _Wanted:
        found = self._found()
        body = await self._body(request)
        kind: type[Common] = ChatRequest if route == "chat" else CompletionRequest
        asked = parsed(kind, body) if len(body) <= AT_ONCE else await asyncio.to_thread(parsed, kind, body)
        if asked.model not in ("", self.name, *found.adapters):
            known = ", ".join((self.name, *found.adapters))
            raise NotFound(f"there is no model {asked.model!r} here, only {known}")
        taken = intake.intake(asked, found.limits.defaults, found.ends)
        tools: list[str] = []
        echo = False
        if isinstance(asked, ChatRequest):
            prompts = [await found.texts.chat(asked)]
            if asked.tools and asked.tool_choice != "none":
                tools = [tool.function.name for tool in asked.tools]
        elif isinstance(asked, CompletionRequest):
            prompts = await found.texts.prompts(intake.prompts_of(asked))
            echo = bool(asked.echo)
        if echo and taken.logprobs and not found.generator.engine.facts.echoes:
            raise Invalid(
                "echo with logprobs: tokens that are in the prefix cache are not computed again; set "
                "predictor.generation.prefixCaching to false for a service that scores texts"
            )
        if len(prompts) * taken.n > MOST_ANSWERS:
            raise Invalid(f"{len(prompts) * taken.n} answers are asked for, at most {MOST_ANSWERS} in one request")
        samplings = [
            replace(intake.fitted(taken, tokens, found.limits), echo=echo and taken.logprobs) for tokens in prompts
        ]
        voice = Voice(f"{'chatcmpl' if route == 'chat' else 'cmpl'}-{secrets.token_hex(12)}", asked.model or self.name,
                      route == "chat", taken.logprobs, echo)  # fmt: skip
        adapter = asked.model if asked.model in found.adapters else ""
        scores = request.headers.get(COPY) == SCORE
        seen = self.drift.watching(request, asked.model or self.name, samplings[0]) if taken.n == 1 else None
        return _Wanted(taken, voice, prompts, samplings, tools, adapter, seen, scores)

    async def _body(self, request: Request) -> bytes:
        coding = coding_of(request)
        if request.size <= AT_ONCE:
            return inflated(request.body, coding, self._max_body)
        return await asyncio.to_thread(inflated, request.body, coding, self._max_body)

    async def _whole(self, wanted: _Wanted, asked: float) -> Reply:
        found = self._found()
        collector = Collector(wanted.count, wanted.tools)
        job = Job(
            collector.part,
            collector.failed,
            asked,
            wanted.taken.logprobs,
            seen=wanted.seen,
            counted=not wanted.scores,
        )
        found.generator.start(wanted.prompts, wanted.samplings, wanted.taken.stops, wanted.taken.n, job, wanted.adapter)
        try:
            await collector.done
        finally:
            found.generator.cancel(job)
        before = [found.texts.decode(tokens) for tokens in wanted.prompts for _ in range(wanted.taken.n)]
        said = wanted.voice.whole(collector.choices, wanted.prompt_tokens, before if wanted.voice.echo else ())
        return json_reply(said)

    def _streamed(self, wanted: _Wanted, route: str, asked: float) -> Reply:
        generator = self._found().generator

        def gone() -> None:
            generator.cancel(job)
            self.metrics.inferred(route, Outcome.GONE)

        def over(error: RequestError | None) -> None:
            if error is None:
                self._counted(route, asked, wanted.count)
            else:
                self.metrics.inferred(route, outcome_of(error))
                self.metrics.ended(error.reason)

        stream = Stream(gone)
        streamer = Streamer(
            wanted.count, wanted.voice, stream, wanted.prompt_tokens, wanted.taken.usage, wanted.tools, over
        )
        job = Job(streamer.part, streamer.failed, asked, wanted.taken.logprobs, seen=wanted.seen)
        generator.start(wanted.prompts, wanted.samplings, wanted.taken.stops, wanted.taken.n, job, wanted.adapter)
        return stream
