"""Routes of the HTTP server: each answers at once or promises a reply."""

import importlib.metadata
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any
from urllib.parse import unquote_to_bytes

from slipway.api.common.artifact import Lineage
from workloads.serve.apart import Job, ReaderPool
from workloads.serve.aside import aside
from workloads.serve.errors import MethodNotAllowed, NotFound, NotReady
from workloads.serve.http import Pending, Reply, Request
from workloads.serve.http.message import error_reply, json_reply
from workloads.serve.lifecycle import Lifecycle, Phase
from workloads.serve.mirror import Mirror
from workloads.serve.protocol.content_encoding import AT_ONCE
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.protocol.statistics import configuration, statistics
from workloads.serve.rest.inference import Codec
from workloads.serve.rest.pending import TaskPending
from workloads.serve.rest.promise import InferencePending, written
from workloads.serve.service import Service
from workloads.serve.telemetry.inferences import begin
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.text.protocol import described, forms
from workloads.serve.text.rest import TextRest
from workloads.serve.text.texts import Texts
from workloads.serve.web.page import page
from workloads.serve.web.predict import Predict

SERVER = "slipway"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "schedule_policy", "statistics"]
MODELS = b"/v2/models/"
# Where other servers take them.
OTHERS = ("/v1/", "/invocations", "/predictions/", "/api/")
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"

# Bytes of a body that is looked at on a thread: that needs no interpreter, and takes a while.
LARGE = 1 << 20

Handler = Callable[[Request], "Reply | Pending"]


class App:
    """One model behind the protocol's paths. `service` and `codec` come with `serve`, when the engine is warm."""

    def __init__(self, name: str, version: str, life: Lifecycle, metrics: Metrics) -> None:
        self.name = name
        self.version = version
        self.life = life
        self.metrics = metrics
        self.service: Service | None = None
        self.codec: Codec | None = None
        self.predict: Predict | None = None
        self.texts: Texts | None = None
        self.text_rest: TextRest | None = None
        self.mirror: Mirror | None = None
        self.apart: ReaderPool | None = None
        self.routes: dict[bytes, dict[bytes, Handler]] = {
            b"/v2": {b"GET": self._server},
            b"/v2/": {b"GET": self._server},
            b"/v2/health/live": {b"GET": self._live},
            b"/v2/health/ready": {b"GET": self._ready},
            b"/metrics": {b"GET": lambda request: Reply(200, (metrics.text(),), PROMETHEUS)},
        }
        self.routes[b"/"] = {b"GET": page}
        self.routes[b"/predict"] = {b"GET": self._describe, b"POST": self._predict}
        self.routes.setdefault(MODELS + b"stats", {b"GET": self._statistics})
        for base in (b"", b"/versions/" + version.encode()):
            path = MODELS + name.encode() + base
            self.routes[path] = {b"GET": self._model}
            self.routes[path + b"/ready"] = {b"GET": self._model_ready}
            self.routes[path + b"/stats"] = {b"GET": self._statistics}
            self.routes[path + b"/config"] = {b"GET": self._configuration}
            self.routes[path + b"/infer"] = {b"POST": self._infer}

    def serve(self, service: Service, codec: Codec) -> None:
        """Begin to serve: the engine is warm."""
        # Own code reads texts itself.
        if service.loaded.tokens is not None and service.transform is None:
            self.texts = Texts(service, service.loaded.tokens)
            self.text_rest = TextRest(self.texts, codec)
        self.service, self.codec = service, codec
        self.apart = ReaderPool(codec, texts=forms(codec.signature) if self.texts is not None else None)
        self.predict = Predict(service, codec.max_body_size, self.texts, self.apart)
        self.life.phase = Phase.READY

    async def close(self) -> None:
        """End the processes that read requests and pictures."""
        if self.apart is not None:
            await self.apart.close()
        if self.predict is not None:
            await self.predict.close()

    def __call__(self, request: Request) -> "Reply | Pending":
        """Find the path's handler and call it. Raises RequestError. HEAD comes as GET."""
        methods = self.routes.get(request.path)
        if methods is None:
            methods = self.routes.get(unquote_to_bytes(request.path))
        if methods is None:
            if request.method == b"OPTIONS" and request.path == b"*":
                return Reply(204, headers=b"Allow: GET, HEAD, OPTIONS, POST\r\n")
            raise self._not_found(request.path)
        handler = methods.get(request.method)
        if handler is None:
            allowed = b", ".join(methods)
            if request.method == b"OPTIONS":
                more = (b"HEAD, " if b"GET" in methods else b"") + b"OPTIONS"
                return Reply(204, headers=b"Allow: %b, %b\r\n" % (allowed, more))
            error = MethodNotAllowed(f"{request.path.decode(errors='replace')} takes {allowed.decode()}")
            reply = error_reply(error)
            reply.headers += b"Allow: %b\r\n" % allowed
            return reply
        return handler(request)

    def _not_found(self, path: bytes) -> NotFound:
        words = unquote_to_bytes(path).decode(errors="replace")
        if not words.startswith(MODELS.decode()):
            hint = f": send inferences to {MODELS.decode()}{self.name}/infer" if words.startswith(OTHERS) else ""
            return NotFound(f"there is nothing at {words}{hint}")
        name, _, rest = words.removeprefix(MODELS.decode()).partition("/")
        if name != self.name:
            return NotFound(f"there is no model {name!r} here, only {self.name!r}")
        if rest.startswith("versions/") and rest.split("/")[1] != self.version:
            return NotFound(f"model {name!r} has no version {rest.split('/')[1]!r}, only {self.version!r}")
        hint = ": leave out the slash at its end" if words.rstrip("/").encode() in self.routes else ""
        return NotFound(f"there is nothing at {words}{hint}")

    def loaded(self) -> tuple[Service, Codec]:
        """Service and codec of the model. Raises NotReady while the model is loading."""
        if self.service is None or self.codec is None:
            raise NotReady("the model is loading", 1)
        return self.service, self.codec

    @property
    def ready(self) -> bool:
        """True if the model is loaded, warm and well, and the server is not leaving."""
        return self.life.ready and self.service is not None and not self.service.broken

    @property
    def broken(self) -> str:
        """Reason why only a restart can help, or nothing."""
        return self.service.broken if self.service is not None else ""

    def server_metadata(self) -> dict[str, Any]:
        """The protocol's server metadata."""
        return {"name": SERVER, "version": _version(), "extensions": EXTENSIONS}

    def _server(self, _request: Request) -> Reply:
        return json_reply(self.server_metadata())

    def _live(self, _request: Request) -> Reply:
        broken = self.broken
        return json_reply({"live": not broken, **({"reason": broken} if broken else {})}, 503 if broken else 200)

    def _ready(self, _request: Request) -> Reply:
        return json_reply({"ready": self.ready, "phase": self.life.phase}, 200 if self.ready else 503)

    def _model_ready(self, _request: Request) -> Reply:
        return json_reply({"name": self.name, "ready": self.ready}, 200 if self.ready else 503)

    def _model(self, _request: Request) -> Reply:
        service, _ = self.loaded()
        return json_reply(self.metadata(service))

    def metadata(self, service: Service) -> dict[str, Any]:
        """The protocol's model metadata; what is our own is under `properties`."""
        model = service.model
        ports = {
            kind: [{"name": t.name, "datatype": t.datatype.name, "shape": t.shape} for t in tensors]
            for kind, tensors in (("inputs", service.signature.inputs), ("outputs", service.signature.outputs))
        }
        properties = {"digest": model.digest, "engine": service.loaded.engines[0].name}
        properties |= {f"engine_{key}": value for key, value in service.loaded.engines[0].details.items()}
        properties["max_batch_size"] = str(service.batcher.limits.max_batch_size)
        if self.texts is not None:
            properties |= described(self.texts.pairs, self.texts.limit)
        if service.transform is not None:
            properties |= service.transform.described()
        seen = service.loaded.warm_up
        properties["batching"] = f"off: {seen.alone}" if seen.alone else "on"
        properties |= {f"warning_{number}": words for number, words in enumerate(seen.warnings, start=1)}
        if model.artifact is not None:
            properties |= _lineage(model.artifact.lineage)
        properties |= {f"warm_up_ms_{rows}": f"{ms * 1000:.3f}" for rows, ms in service.loaded.warm_up.seconds.items()}
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": model.platform,
            **ports,
            "properties": properties,
        }

    def statistics(self) -> dict[str, Any]:
        """The protocol's statistics extension."""
        self.loaded()
        return statistics(self.name, self.version, self.metrics)

    def _statistics(self, _request: Request) -> Reply:
        return json_reply(self.statistics())

    def _configuration(self, _request: Request) -> Reply:
        return json_reply(self.configuration())

    def configuration(self) -> dict[str, Any]:
        """The protocol's model configuration extension."""
        service, _ = self.loaded()
        model, engines = service.model, service.loaded.engines
        limits = service.batcher.limits
        return configuration(self.name, model.platform, engines[0].name, service.signature, limits, len(engines))

    def _people(self) -> Predict:
        if self.predict is None:
            raise NotReady("the model is loading", 1)
        return self.predict

    def _describe(self, request: Request) -> Reply:
        return self._people().describe(request)

    def _predict(self, request: Request) -> Pending:
        self._copied(request)
        return begin(lambda: self._people().handle(request), self.metrics, "predict")

    def _copied(self, request: Request) -> None:
        """Bad requests as well: the other server is compared by the same ones."""
        if self.mirror is not None:
            self.mirror.offer(request)

    def _infer(self, request: Request) -> Pending:
        self._copied(request)
        return begin(lambda: self._submitted(request), self.metrics, "infer")

    def _submitted(self, request: Request) -> Pending:
        service, codec = self.loaded()
        heavy = codec.heavy(request)
        if self.text_rest is not None:
            # Wherever its texts are, they become objects.
            heavy = heavy or request.size > AT_ONCE
            if not heavy and self.text_rest.wants(request):
                return self.text_rest.begin(request)
        if self.apart is not None and heavy:
            job = Job("rest", request.headers, request.parts)
            return TaskPending(self._answered(service, codec, service.read_apart(self.apart, job)))
        if request.size > LARGE:
            return TaskPending(self._answered(service, codec, aside(codec.decode, request)))
        asked = codec.decode(request)
        return InferencePending(service.submit(asked), asked, codec, service.batcher)

    async def _answered(self, service: Service, codec: Codec, reading: Awaitable[InferenceRequest]) -> Reply:
        """The reply to what takes a while to be read."""
        asked = await reading
        if asked.form is not None and self.text_rest is not None:
            return await self.text_rest.answered(asked.form, asked)
        ticket = service.submit(asked)
        results = await service.batcher.answer(ticket)
        return await written(codec, asked, results, ticket.timing)


def _lineage(lineage: Lineage) -> dict[str, str]:
    """Origin of the model, as far as its artifact says: job, data set, digests of the sources."""
    said = {"lineage_job": f"{lineage.job.kind}/{lineage.job.name}"}
    if lineage.dataset is not None:
        said["lineage_data_set"] = f"{lineage.dataset.name}@{lineage.dataset.digest}"
    if lineage.sources:
        said["lineage_sources"] = " ".join(source.digest for source in lineage.sources)
    return said


@cache
def _version() -> str:
    """Version of the installed distribution; images hold the source alone."""
    try:
        return importlib.metadata.version("slipway")
    except importlib.metadata.PackageNotFoundError:
        return "dev"
