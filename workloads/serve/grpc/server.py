"""The gRPC server: the protocol's methods and the standard health service, on the same event loop and batcher."""

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from grpc_health.v1 import health_pb2

from workloads.serve.apart import Job
from workloads.serve.aside import aside
from workloads.serve.edge.timing import server_timing
from workloads.serve.errors import Invalid, NotFound, RequestError
from workloads.serve.grpc.call import Call, Handler
from workloads.serve.grpc.calls import Calls
from workloads.serve.grpc.edge import GrpcEdge
from workloads.serve.grpc.grpc_to_rest import as_rest
from workloads.serve.grpc.messages import Message
from workloads.serve.grpc.open_calls import HEALTH, OpenCalls, States, decoded, only
from workloads.serve.grpc.receiving import GrpcMemory, Memory, Receiving
from workloads.serve.http.message import Buffer
from workloads.serve.http.turn import Turns
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.protocol.content_encoding import AT_ONCE
from workloads.serve.protocol.grpc_message import model_of, raw_bytes
from workloads.serve.protocol.grpc_tensors import GrpcCodec, parsed
from workloads.serve.protocol.inference_request import InferenceRequest
from workloads.serve.rest.inference import Codec
from workloads.serve.telemetry.inferences import counting
from workloads.serve.text.inputs import MOST_TEXTS
from workloads.serve.text.protocol import Form, form_of, forms, given
from workloads.serve.text.rest import TRUNCATED, cut_off

if TYPE_CHECKING:
    from workloads.serve.app import App
    from workloads.serve.text.texts import Texts

LOG = logging.getLogger("slipway.serve.grpc")

SERVICE = "inference.GRPCInferenceService"
ENVELOPE = 1 << 20  # bytes of a message beside its tensors
NO_MEMORY = "this server shares no memory with clients: send the data itself"
NO_REPOSITORY = "this server serves one model, which its InferenceService names: change spec.predictor.model"
NO_STREAMS = "this server answers each request once: send ModelInfer, as many at a time as you like, on one channel"
APART = 1 << 20  # bytes of a message that is read elsewhere, even where nothing has to be done but to copy
# Calls of Triton's that its clients know, and why they are not here.
ABSENT = {
    "ModelStreamInfer": NO_STREAMS,
    **{
        f"{kind}SharedMemory{what}": NO_MEMORY
        for kind in ("System", "Cuda")
        for what in ("Status", "Register", "Unregister")
    },
    **dict.fromkeys(("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"), NO_REPOSITORY),
}
Answer = Callable[[Any, Call], Awaitable[Any]]


class GrpcServer:
    """`app` says what is loaded and ready, and holds the batcher."""

    def __init__(
        self,
        app: "App",
        max_body_size: int,
        nonfinite: bool,
        max_requests: int,
        memory: Memory | None = None,
        most: int = 512 << 20,
        around: GrpcEdge | None = None,
    ) -> None:
        """`memory` of all requests, of which there are `most` bytes; its own where there is no HTTP server.

        `around`: what is done before and after each call.
        """
        self._app = app
        self._nonfinite = nonfinite
        self._codec: GrpcCodec | None = None
        self.port = 0
        self.tells_time = False  # queue and compute of each inference, in its trailing metadata
        self.turns: Turns | None = None  # to be read, shared with other servers of the loop
        self._receiving = Receiving(memory or GrpcMemory(most), most)
        self._standing = OpenCalls(app, frozenset({"", SERVICE, HEALTH}))
        handlers = {**self._inference(), **self._health(), **self._standing.reflections()}
        if around is not None:
            handlers = {path: around.wrapped(handler) for path, handler in handlers.items()}
        self._calls = Calls(handlers, self._receiving, max_body_size + ENVELOPE, max_requests)

    async def start(self, host: str, port: int, seal: Callable[[], ssl.SSLContext] | None = None) -> int:
        """Listen, on all addresses for an empty `host`. Returns the port, which the system chooses for port 0."""
        self.port = await self._calls.start(host, port, seal, self.turns)
        return self.port

    async def finish(self, seconds: float) -> None:
        """Take no new requests; what is under way has so long."""
        await self._calls.finish(seconds)

    def _inference(self) -> dict[str, Handler]:
        methods = {
            "ServerLive": self._method(self._live, pb.ServerLiveRequest),
            "ServerReady": self._method(self._ready, pb.ServerReadyRequest),
            "ModelReady": self._method(self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": self._method(self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": self._method(self._model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": self._guarded(self._inferring),
            "ModelConfig": self._method(self._config, pb.ModelConfigRequest),
            "ModelStatistics": self._method(self._statistics, pb.ModelStatisticsRequest),
        }
        methods |= {name: self._absent(words) for name, words in ABSENT.items()}
        return {f"/{SERVICE}/{name}": handler for name, handler in methods.items()}

    def _health(self) -> dict[str, Handler]:
        """Kubernetes' own gRPC probes ask here, and balancers in the clients watch."""
        check = self._method(self._check, health_pb2.HealthCheckRequest)
        return {f"/{HEALTH}/Check": check, f"/{HEALTH}/Watch": self._standing.watch()}

    def _method(self, answer: Answer, request: Any) -> Handler:
        """A unary method without tensors, whose message is small. Its RequestErrors become statuses."""

        async def handler(call: Call) -> list[Buffer]:
            reply = await answer(decoded(request, await only(call)), call)
            return [reply.SerializeToString()]

        return self._guarded(handler)

    async def _inferring(self, call: Call) -> list[Buffer]:
        """Answer an inference."""
        message = await call.next()
        if message is None:
            raise Invalid("the call ended without a message")
        return await self._counted(message, call)

    def _absent(self, words: str) -> Handler:
        """Answer to one of Triton's calls that this server does not have."""

        async def handler(call: Call) -> None:
            self._app.metrics.grpc_replied("UNIMPLEMENTED")
            call.fail("UNIMPLEMENTED", words)

        return handler

    def _guarded(self, handler: Handler) -> Handler:
        """Wrap a handler: its errors become statuses, and are counted."""

        async def answer(call: Call) -> Sequence[Buffer] | None:
            try:
                reply = await handler(call)
            except RequestError as error:
                # Its frames hold the message, and a future of theirs the error: all would stay in memory until the
                # garbage collector comes, which for old objects is seldom.
                error.__traceback__ = None
                self._app.metrics.grpc_replied(error.grpc)
                if error.retry_after:
                    call.metadata("retry-after", str(error.retry_after))
                call.fail(error.grpc, str(error))
                return None
            except Exception:
                self._app.metrics.grpc_replied("INTERNAL")
                raise
            self._app.metrics.grpc_replied("OK")
            return reply

        return answer

    def _known(self, name: str, version: str) -> None:
        if name != self._app.name:
            raise NotFound(f"there is no model {name!r} here, only {self._app.name!r}")
        if version not in {"", self._app.version}:
            raise NotFound(f"model {name!r} has no version {version!r}, only {self._app.version!r}")

    async def _live(self, _request: Any, _call: Call) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=not self._app.broken)

    async def _ready(self, _request: Any, _call: Call) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._app.ready)

    async def _model_ready(self, request: pb.ModelReadyRequest, _call: Call) -> pb.ModelReadyResponse:
        self._known(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._app.ready)

    async def _server_metadata(self, _request: Any, _call: Call) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**self._app.server_metadata())

    async def _model_metadata(self, request: pb.ModelMetadataRequest, _call: Call) -> pb.ModelMetadataResponse:
        self._known(request.name, request.version)
        service, _ = self._app.loaded()
        return pb.ModelMetadataResponse(**self._app.metadata(service))

    async def _config(self, request: pb.ModelConfigRequest, _call: Call) -> pb.ModelConfigResponse:
        self._known(request.name, request.version)
        return pb.ModelConfigResponse(config=pb.ModelConfig(**self._app.configuration()))

    async def _statistics(self, request: pb.ModelStatisticsRequest, _call: Call) -> pb.ModelStatisticsResponse:
        self._known(request.name or self._app.name, request.version)
        return pb.ModelStatisticsResponse(**self._app.statistics())

    async def _counted(self, message: Message, call: Call) -> list[Buffer]:
        large = message.size > APART
        # On a thread: putting together what is long needs no interpreter, and takes a while.
        data = await aside(message.joined) if large else message.joined()
        request = parsed(bytes(data)) if len(data) <= AT_ONCE else None
        if request is not None:
            self._known(request.model_name, request.model_version)
        else:
            self._known(*model_of(memoryview(data)))
        with counting(self._app.metrics, "grpc"):
            return await self._infer(data, request, call)

    async def _infer(self, data: Buffer, request: pb.ModelInferRequest | None, call: Call) -> list[Buffer]:
        service, codec = self._app.loaded()
        if self._codec is None:
            rows = codec.most_rows
            self._codec = GrpcCodec(codec.signature, codec.name, codec.version, self._nonfinite, rows)
        used, apart = self._codec, self._app.apart
        if request is not None:
            form = form_of(request.inputs) if self._app.texts is not None else None
            used = self._codec_for(form, used)
            asked = used.decode(request)
            asked.form = form
        elif apart is not None and self._heavy(data, codec):
            asked = await service.read_apart(apart, Job("grpc", {}, (data,)))
            used = self._codec_for(asked.form, used)
        elif len(data) > APART:
            asked = await aside(used.read_in_place, data)
        else:
            asked = used.read_in_place(data)
        del data, request
        if self._app.mirror is not None:
            said = call.said
            self._app.mirror.offer_as(lambda: as_rest(codec.name, used.signature, asked, said))
        left = call.time_remaining()
        if left is not None:
            asked.timeout = min(asked.timeout, left) if asked.timeout else left
        if self._app.texts is not None and asked.form is not None:
            return await self._texts(self._app.texts, used, asked, call)
        # A client that goes away cancels this coroutine, and `answer` takes its request out of the queue.
        ticket = service.submit(asked)
        outputs = await service.batcher.answer(ticket)
        if self.tells_time:
            call.metadata("server-timing", server_timing(ticket.timing).decode())
        return self._codec.encode(asked, outputs)

    def _heavy(self, data: Buffer, codec: Codec) -> bool:
        """Tell whether reading a message holds the interpreter for so long that others would notice.

        Invalid for one that no request can need.
        """
        beside = len(data) - raw_bytes(memoryview(data), codec.signature)
        return beside > AT_ONCE or codec.texts or self._app.texts is not None

    def _codec_for(self, form: Form | None, own: GrpcCodec) -> GrpcCodec:
        """Codec for a request that has texts of such a form, or none."""
        if form is None:
            return own
        return replace(own, signature=forms(own.signature)[form], most_rows=MOST_TEXTS)

    async def _texts(self, texts: "Texts", codec: GrpcCodec, asked: InferenceRequest, call: Call) -> list[Buffer]:
        wanted = given(asked)
        texts.check(wanted)
        answer = await texts.answer(wanted)
        if places := cut_off(answer.rows):
            call.metadata(TRUNCATED.decode().lower(), str(places))
        return codec.encode(asked, answer.outputs)

    async def _check(self, request: Any, _call: Call) -> Any:
        status = self._standing.health(request.service)
        if status == States.SERVICE_UNKNOWN:
            raise NotFound(f"there is no service {request.service!r} here")
        return health_pb2.HealthCheckResponse(status=status)
