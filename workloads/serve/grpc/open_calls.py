"""Calls that stay open: the health service's Watch, and reflection. Made by the gRPC server.

Each holds one of the places for calls, so there may be a bounded number; a message of theirs is small. They end by
themselves when the server leaves: a drain would wait for them until its last second.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2

from workloads.serve.errors import Invalid, QueueFull, RequestError
from workloads.serve.grpc.call import Call, Handler
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

States = health_pb2.HealthCheckResponse.ServingStatus


class OpenCalls:
    """Calls that stay open, of one server."""

    def __init__(self, app: "App", names: frozenset[str]) -> None:
        self._app = app
        self._names = names
        self._open = 0

    def health(self, service: str) -> Any:
        """Serving status of a service now."""
        if service not in self._names:
            return States.SERVICE_UNKNOWN
        return States.SERVING if self._app.ready else States.NOT_SERVING

    def watch(self) -> Handler:
        """The health service's: the state now, and each time that it changes. Not serving is said before the end."""

        async def watch(call: Call) -> AsyncIterator[Any]:
            service = decoded(health_pb2.HealthCheckRequest, await only(call)).service
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

    def reflections(self) -> dict[str, Handler]:
        """Handlers of server reflection by their paths, for grpcurl and its like; none without the library."""
        try:
            from grpc_reflection.v1alpha import reflection_pb2
            from grpc_reflection.v1alpha.reflection import aio
        except ImportError:
            return {}
        servicer = aio.ReflectionServicer([*sorted(self._names - {""}), REFLECTIONS[-1]])

        async def answer(call: Call) -> AsyncIterator[Any]:
            async def questions() -> AsyncIterator[Any]:
                with contextlib.suppress(TimeoutError):
                    while True:
                        async with asyncio.timeout(IDLE_SECONDS):
                            message = await call.small(LARGEST)
                        if message is None:
                            return
                        yield decoded(reflection_pb2.ServerReflectionRequest, message)

            async for said in servicer.ServerReflectionInfo(questions(), call):
                yield said

        return {f"/{name}/ServerReflectionInfo": self._handler(answer) for name in REFLECTIONS}

    def _handler(self, behavior: Callable[[Call], AsyncIterator[Any]]) -> Handler:
        """Handler of a call that stays open: its errors become statuses, and are counted."""

        async def answer(call: Call) -> None:
            counted = self._app.metrics.grpc_replied
            if self._open >= MOST:
                counted(QueueFull.grpc)
                call.fail(QueueFull.grpc, "too many calls stay open here")
                return
            self._open += 1
            try:
                async for reply in behavior(call):
                    await call.write(reply.SerializeToString())
            except RequestError as error:
                counted(error.grpc)
                call.fail(error.grpc, str(error))
                return
            finally:
                self._open -= 1
            counted("OK")

        return answer


def decoded(kind: Any, message: bytes) -> Any:
    """Message decoded from bytes. Invalid for bytes that are none of this kind."""
    try:
        return kind.FromString(message)
    except DecodeError:
        raise Invalid(f"the message is no {kind.DESCRIPTOR.name}") from None


async def only(call: Call) -> bytes:
    """The message of a call that brings no tensors. Raises Invalid, TooLarge, or what receiving it raises."""
    message = await call.small(LARGEST)
    if message is None:
        raise Invalid("the call ended without a message")
    return message
