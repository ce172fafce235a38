"""The gRPC server: the protocol's methods and the standard health service, on the same event loop and batcher."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2

from workloads.serve.apart import Job
from workloads.serve.edge.timing import server_timing
from workloads.serve.errors import NotFound, QueueFull, RequestError
from workloads.serve.freed import Freed
from workloads.serve.grpc.grpc_to_rest import as_rest
from workloads.serve.grpc.open_calls import HEALTH, Standing, States, decoded, small
from workloads.serve.grpc.receiving import Memory, Own, Receiving
from workloads.serve.grpc.tls import credentials
from workloads.serve.protocol import open_inference_pb2 as pb
from workloads.serve.protocol.content_encoding import AT_ONCE
from workloads.serve.protocol.grpc_message import model_of, raw_bytes
from workloads.serve.protocol.grpc_tensors import GrpcCodec, parsed
from workloads.serve.protocol.inference_request import Asked
from workloads.serve.rest.inference import Codec
from workloads.serve.telemetry.inferences import counting
from workloads.serve.text.protocol import PAIR, forms, given
from workloads.serve.text.rest import TRUNCATED, cut_off
from workloads.serve.text.texts import MOST_TEXTS

if TYPE_CHECKING:
    from workloads.serve.app import App
    from workloads.serve.edge.certificates import Certificates
    from workloads.serve.text.texts import Texts

LOG = logging.getLogger("slipway.serve.grpc")

SERVICE = "inference.GRPCInferenceService"
ENVELOPE = 1 << 20  # bytes of a message beside its tensors
NO_STREAMS = "this server answers each request once: send ModelInfer, as many at a time as you like, on one channel"
COPIES = 3
APART = 8 << 20  # even where nothing has to be done but to copy
Handler = Callable[[Any, "grpc.aio.ServicerContext[Any, Any]"], Awaitable[Any]]


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
        around: "Sequence[grpc.aio.ServerInterceptor[Any, Any]]" = (),
    ) -> None:
        """`memory` of all requests, of which there are `most` bytes; its own where there is no HTTP server.

        `around`: what is done before and after each call.
        """
        self._app = app
        self._nonfinite = nonfinite
        self._codec: GrpcCodec | None = None
        self.port = 0
        self.tells_time = False  # queue and compute of each inference, in its trailing metadata
        size = max_body_size + ENVELOPE
        self._freed = Freed()
        self._receiving = Receiving(memory or Own(most), most, size)
        options = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            # What a call sends before it is read stays within one window; grpc would let it grow with the connection.
            ("grpc.http2.bdp_probe", 0),
        ]
        self._server = grpc.aio.server(interceptors=around, options=options, maximum_concurrent_rpcs=max_requests)
        self._standing = Standing(app, frozenset({"", SERVICE, HEALTH}), self._receiving.next)
        self._server.add_generic_rpc_handlers((self._inference(), self._health(), *self._standing.reflections()))

    async def start(self, host: str, port: int, sealed: "Certificates | None" = None) -> int:
        """Listen, on all addresses for an empty `host`. Returns the port, which the system chooses for port 0."""
        address = f"[{host or '::'}]" if ":" in host or not host else host
        if sealed is None:
            self.port = int(self._server.add_insecure_port(f"{address}:{port}"))
        else:
            self.port = int(self._server.add_secure_port(f"{address}:{port}", credentials(sealed)))
        await self._server.start()
        return self.port

    async def finish(self, seconds: float) -> None:
        """Take no new requests; what is under way has so long."""
        await self._server.stop(seconds)

    def _inference(self) -> grpc.GenericRpcHandler:
        methods = {
            "ServerLive": self._method(self._live, pb.ServerLiveRequest),
            "ServerReady": self._method(self._ready, pb.ServerReadyRequest),
            "ModelReady": self._method(self._model_ready, pb.ModelReadyRequest),
            "ServerMetadata": self._method(self._server_metadata, pb.ServerMetadataRequest),
            "ModelMetadata": self._method(self._model_metadata, pb.ModelMetadataRequest),
            "ModelInfer": self._inferring(),
            "ModelConfig": self._method(self._config, pb.ModelConfigRequest),
            "ModelStatistics": self._method(self._statistics, pb.ModelStatisticsRequest),
            "ModelStreamInfer": self._streaming(),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _health(self) -> grpc.GenericRpcHandler:
        """Kubernetes' own gRPC probes ask here, and balancers in the clients watch."""
        methods = {"Check": self._method(self._check, health_pb2.HealthCheckRequest), "Watch": self._standing.watch()}
        return grpc.method_handlers_generic_handler(HEALTH, methods)

    def _method(self, handler: Handler, request: Any) -> grpc.RpcMethodHandler:
        """A unary method without tensors, whose RequestErrors become statuses. Its message is bounded as an inference's
        is: whoever sends large ones where nobody looks for them gets no more memory.
        """

        async def call(_messages: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
            return await handler(decoded(request, small(await self._receiving.next(context))), context)

        return grpc.stream_unary_rpc_method_handler(
            self._guarded(call), response_serializer=lambda reply: reply.SerializeToString()
        )

    def _inferring(self) -> grpc.RpcMethodHandler:
        """Handler of inferences. Unary on the wire, but the message is read here: it is known how long that takes."""
        receiving = self._receiving

        async def infer(_messages: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
            message = await receiving.message(context)
            size = len(message)
            if size > APART:
                self._freed.soon()
            # A large one is there as it came, in the process that reads it, and as what that makes of it.
            cost = COPIES * size if size > APART else size
            if not receiving.room(cost, size > APART):
                raise QueueFull("too many bytes of requests are in memory", 1)
            try:
                return await self._counted(message, context)
            finally:
                receiving.memory.give_back(cost)
                if size > APART:
                    self._freed.soon()

        return grpc.stream_unary_rpc_method_handler(
            self._guarded(infer), response_serializer=lambda reply: reply.SerializeToString()
        )

    def _streaming(self) -> grpc.RpcMethodHandler:
        """Triton's call for models that answer in several parts. None here does, and a stream that waits for its next
        message could not be told from one that stands in the middle of a large one.
        """

        async def refuse(_messages: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
            self._app.metrics.grpc_replied("UNIMPLEMENTED")
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, NO_STREAMS)

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _guarded(self, handler: Handler) -> Handler:
        """Wrap a handler: its errors become statuses, and are counted."""

        async def call(message: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> Any:
            try:
                reply = await handler(message, context)
            except RequestError as error:
                # Its frames hold the message, and a future of theirs the error: all would stay in memory until the
                # garbage collector comes, which for old objects is seldom.
                error.__traceback__ = None
                self._app.metrics.grpc_replied(error.grpc)
                if error.retry_after:
                    context.set_trailing_metadata((("retry-after", str(error.retry_after)),))
                await context.abort(grpc.StatusCode[error.grpc], str(error))
            except Exception:
                # grpc would send the exception's text to the client; it belongs in the log.
                LOG.exception("a request failed")
                self._app.metrics.grpc_replied("INTERNAL")
                await context.abort(grpc.StatusCode.INTERNAL, "an error of the server's own, which is in its log")
            self._app.metrics.grpc_replied("OK")
            return reply

        return call

    def _known(self, name: str, version: str) -> None:
        if name != self._app.name:
            raise NotFound(f"there is no model {name!r} here, only {self._app.name!r}")
        if version not in {"", self._app.version}:
            raise NotFound(f"model {name!r} has no version {version!r}, only {self._app.version!r}")

    async def _live(self, _request: Any, _context: Any) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=not self._app.broken)

    async def _ready(self, _request: Any, _context: Any) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._app.ready)

    async def _model_ready(self, request: pb.ModelReadyRequest, _context: Any) -> pb.ModelReadyResponse:
        self._known(request.name, request.version)
        return pb.ModelReadyResponse(ready=self._app.ready)

    async def _server_metadata(self, _request: Any, _context: Any) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(**self._app.server_metadata())

    async def _model_metadata(self, request: pb.ModelMetadataRequest, _context: Any) -> pb.ModelMetadataResponse:
        self._known(request.name, request.version)
        service, _ = self._app.loaded()
        return pb.ModelMetadataResponse(**self._app.metadata(service))

    async def _config(self, request: pb.ModelConfigRequest, _context: Any) -> pb.ModelConfigResponse:
        self._known(request.name, request.version)
        return pb.ModelConfigResponse(config=pb.ModelConfig(**self._app.configuration()))

    async def _statistics(self, request: pb.ModelStatisticsRequest, _context: Any) -> pb.ModelStatisticsResponse:
        self._known(request.name or self._app.name, request.version)
        return pb.ModelStatisticsResponse(**self._app.statistics())

    async def _counted(self, message: bytes, context: Any) -> pb.ModelInferResponse:
        request = parsed(message) if len(message) <= AT_ONCE else None
        if request is not None:
            self._known(request.model_name, request.model_version)
        else:
            self._known(*model_of(memoryview(message)))
        with counting(self._app.metrics, "grpc"):
            return await self._infer(message, request, context)

    async def _infer(self, message: bytes, request: pb.ModelInferRequest | None, context: Any) -> pb.ModelInferResponse:
        service, codec = self._app.loaded()
        if self._codec is None:
            rows = codec.most_rows
            self._codec = GrpcCodec(codec.signature, codec.name, codec.version, self._nonfinite, rows)
        if request is None and self._heavy(message, codec) and self._app.apart is not None:
            used = self._codec
            asked = await service.read_apart(self._app.apart, Job("grpc", {}, (message,)))
        else:
            request = request or parsed(message)
            used = self._codec_for(request, self._codec)
            asked = used.decode(request)
        if self._app.mirror is not None:
            said = dict(context.invocation_metadata() or ())
            self._app.mirror.offer_as(lambda: as_rest(codec.name, used.signature, asked, said))
        left = context.time_remaining()
        if left is not None:
            asked.timeout = min(asked.timeout, left) if asked.timeout else left
        if self._app.texts is not None and used is not self._codec:
            return await self._texts(self._app.texts, used, asked, context)
        # A client that goes away cancels this coroutine, and `answer` takes its request out of the queue.
        ticket = service.submit(asked)
        outputs = await service.batcher.answer(ticket)
        if self.tells_time:
            told = server_timing(ticket.timing)
            context.set_trailing_metadata((("server-timing", told.decode()),))
        return self._codec.encode(asked, outputs)

    def _heavy(self, message: bytes, codec: Codec) -> bool:
        """Tell whether reading a message takes so long that others would notice.

        Invalid for one that no request can need.
        """
        if self._app.texts is not None:
            return False
        raw = raw_bytes(memoryview(message), codec.signature)
        return len(message) - raw > AT_ONCE or len(message) > APART or codec.texts

    def _codec_for(self, request: pb.ModelInferRequest, own: GrpcCodec) -> GrpcCodec:
        """Codec for a request: one that reads texts where the request holds them and the model takes them."""
        if self._app.texts is None or not any(one.datatype == "BYTES" for one in request.inputs):
            return own
        form = any(one.name == PAIR for one in request.inputs), min(2, max(1, len(request.inputs[0].shape)))
        return replace(own, signature=forms(own.signature)[form], most_rows=MOST_TEXTS)

    async def _texts(self, texts: "Texts", codec: GrpcCodec, asked: Asked, context: Any) -> pb.ModelInferResponse:
        wanted = given(asked)
        texts.check(wanted)
        answer = await texts.answer(wanted)
        if places := cut_off(answer.rows):
            context.set_trailing_metadata(((TRUNCATED.decode().lower(), places),))
        return codec.encode(asked, answer.outputs)

    async def _check(self, request: Any, _context: Any) -> Any:
        status = self._standing.health(request.service)
        if status == States.SERVICE_UNKNOWN:
            raise NotFound(f"there is no service {request.service!r} here")
        return health_pb2.HealthCheckResponse(status=status)
