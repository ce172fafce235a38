"""Calls that stay open: the health service's Watch, and reflection. Made by the gRPC server.

Each holds one of the places for calls, so there may be a bounded number; a message of theirs is small. They end by
themselves when the server leaves: a drain would wait for them until its last second.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2

from workloads.serve.errors import Invalid, QueueFull, RequestError, TooLarge
from workloads.serve.lifecycle import Phase

if TYPE_CHECKING:
    from workloads.serve.app import App

MOST = 256
# Between two looks at the state: as soon as a balancer has to know.
LOOK_SECONDS = 0.25
IDLE_SECONDS = 5.0  # between two of one call
LARGEST = 64 << 10  # bytes of one
HEALTH = "grpc.health.v1.Health"
# The same messages under both names; clients ask for the first and then for the second.
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

Context = Any
Read = Callable[[Context], Awaitable[bytes | None]]
States = health_pb2.HealthCheckResponse.ServingStatus


class Standing:
    """`read` takes a call's next message within the server's bound of memory."""

    def __init__(self, app: "App", names: frozenset[str], read: Read) -> None:
        self._app = app
        self._names = names
        self._read = read
        self._open = 0

    def health(self, service: str) -> Any:
        """Serving status of a service now."""
        if service not in self._names:
            return States.SERVICE_UNKNOWN
        return States.SERVING if self._app.ready else States.NOT_SERVING

    def watch(self) -> grpc.RpcMethodHandler:
        """The health service's: the state now, and each time that it changes. Not serving is said before the end."""

        async def watch(context: Context) -> AsyncIterator[Any]:
            service = decoded(health_pb2.HealthCheckRequest, small(await self._read(context))).service
            said = None
            while self._app.life.phase is not Phase.STOPPING:
                now = self.health(service)
                if now != said:
                    said = now
                    yield health_pb2.HealthCheckResponse(status=now)
                await asyncio.sleep(LOOK_SECONDS)
            if said == States.SERVING:
                yield health_pb2.HealthCheckResponse(status=States.NOT_SERVING)

        return self._handler(watch)

    def reflections(self) -> list[grpc.GenericRpcHandler]:
        """Handlers of server reflection, for grpcurl and its like; none where the library is not installed."""
        try:
            from grpc_reflection.v1alpha import reflection_pb2
            from grpc_reflection.v1alpha.reflection import aio
        except ImportError:
            return []
        servicer = aio.ReflectionServicer([*sorted(self._names - {""}), REFLECTIONS[-1]])

        async def answer(context: Context) -> AsyncIterator[Any]:
            async def questions() -> AsyncIterator[Any]:
                with contextlib.suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(IDLE_SECONDS):
                            message = await self._read(context)
                        if message is None:
                            return
                        yield decoded(reflection_pb2.ServerReflectionRequest, small(message))

            async for said in servicer.ServerReflectionInfo(questions(), context):
                yield said

        methods = {"ServerReflectionInfo": self._handler(answer)}
        return [grpc.method_handlers_generic_handler(name, methods) for name in REFLECTIONS]

    def _handler(self, behavior: Callable[[Context], AsyncIterator[Any]]) -> grpc.RpcMethodHandler:
        """Handler of a call that stays open: its errors become statuses, and are counted."""

        async def call(_messages: Any, context: Context) -> None:
            counted = self._app.metrics.grpc_replied
            if self._open >= MOST:
                counted(QueueFull.grpc)
                await context.abort(grpc.StatusCode[QueueFull.grpc], "too many calls stay open here")
            self._open += 1
            try:
                async for reply in behavior(context):
                    await context.write(reply)
            except RequestError as error:
                counted(error.grpc)
                await context.abort(grpc.StatusCode[error.grpc], str(error))
            finally:
                self._open -= 1
            counted("OK")

        return grpc.stream_stream_rpc_method_handler(call, response_serializer=lambda reply: reply.SerializeToString())


def decoded(kind: Any, message: bytes) -> Any:
    """Message decoded from bytes. Invalid for bytes that are none of this kind."""
    try:
        return kind.FromString(message)
    except DecodeError:
        raise Invalid(f"the message is no {kind.DESCRIPTOR.name}") from None


def small(message: bytes | None) -> bytes:
    """A message of a call that brings no tensors. Raises Invalid, TooLarge."""
    if message is None:
        raise Invalid("the call ended without a message")
    if len(message) > LARGEST:
        raise TooLarge(f"the message has {len(message)} bytes, and this call takes {LARGEST}")
    return message
