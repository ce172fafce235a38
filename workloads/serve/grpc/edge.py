"""Keys, request ids and the log over gRPC: metadata, as the HTTP server's headers. Only where a service asks for it."""

import inspect
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from workloads.serve.edge import Keys
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.errors import Unauthenticated
from workloads.serve.grpc.grpc_to_rest import as_bytes
from workloads.serve.settings import EdgeChoice

ID = "x-request-id"
GIVEN = re.compile(r"[\x21-\x7e]{1,128}")
OPEN_INFERENCE = "/inference.GRPCInferenceService/"
FREE = ("/grpc.health.v1.Health/", *(OPEN_INFERENCE + one for one in ("ServerLive", "ServerReady", "ModelReady")))
Continuation = Callable[[Any], Awaitable[Any]]
Context = Any
CODES = {code.value[0]: code for code in grpc.StatusCode}


def around(
    choice: EdgeChoice, keys: Keys | None, log: AccessLog | None, replied: Callable[[str], None]
) -> "list[grpc.aio.ServerInterceptor[Any, Any]]":
    """Interceptors for the edge; none where the service asks for nothing: a call then costs what it did.

    `replied` hears of what is refused.
    """
    return [GrpcEdge(choice, keys, log, replied)] if keys is not None or log is not None or choice.request_id else []


class GrpcEdge(grpc.aio.ServerInterceptor):  # type: ignore[misc, unused-ignore]
    """Interceptor that works before and after each call."""

    def __init__(
        self, choice: EdgeChoice, keys: Keys | None, log: AccessLog | None, replied: Callable[[str], None]
    ) -> None:
        self._makes = choice.request_id
        self._keys = keys
        self._log = log
        self._replied = replied

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        """The call's handler, or one that refuses it."""
        said = dict(handler_call_details.invocation_metadata or ())
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        call = _Call(method, _id(said) if self._makes or self._log is not None else "", self._makes, self._log)
        words = self._refusal(method, said)
        if words:
            return call.like(handler, self._refusing(words))
        return call.like(handler) if call.name else handler

    def _refusal(self, method: str, said: dict[str, Any]) -> str:
        if self._keys is None or method.startswith(FREE):
            return ""
        try:
            self._keys.check(
                *(as_bytes(said[name]) if name in said else None for name in ("authorization", "x-api-key"))
            )
        except Unauthenticated as error:
            return str(error)
        return ""

    def _refusing(self, words: str) -> Callable[[Any, Context], Awaitable[Any]]:
        """Whoever is refused has nothing of its message read."""

        async def refuse(_message: Any, context: Context) -> Any:
            self._replied(Unauthenticated.grpc)
            await context.abort(grpc.StatusCode[Unauthenticated.grpc], words)

        return refuse


def _id(said: dict[str, Any]) -> str:
    given = said.get(ID)
    return given if isinstance(given, str) and GIVEN.fullmatch(given) else secrets.token_hex(16)


class _Call:
    """One call, which `tells` its name, and is logged where there is a log."""

    def __init__(self, method: str, name: str, tells: bool, log: AccessLog | None) -> None:
        self._method, self.name, self._tells, self._log = method, name, tells, log

    def like(self, handler: Any, behavior: Callable[[Any, Context], Awaitable[Any]] | None = None) -> Any:
        """A handler of the same kind."""
        unary = behavior or handler.unary_unary or handler.stream_unary

        async def one(message: Any, context: Context) -> Any:
            started = await self._begun(context)
            try:
                return await unary(message, context)
            finally:
                self._ended(context, started)

        async def several(message: Any, context: Context) -> None:
            started = await self._begun(context)
            try:
                if behavior is not None:
                    await behavior(message, context)
                    return
                # A handler writes its replies itself, or is a generator of them.
                replies = (handler.unary_stream or handler.stream_stream)(message, context)
                if inspect.isawaitable(replies):
                    await replies
                    return
                async for reply in replies:
                    await context.write(reply)
            finally:
                self._ended(context, started)

        kind = f"{'stream' if handler.request_streaming else 'unary'}_"
        kind += "stream" if handler.response_streaming else "unary"
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        made = several if handler.response_streaming else one
        return make(made, handler.request_deserializer, handler.response_serializer)

    async def _begun(self, context: Context) -> float:
        if self._tells:
            await context.send_initial_metadata(((ID, self.name),))
        return time.monotonic()

    def _ended(self, context: Context, started: float) -> None:
        if self._log is not None:
            code = context.code() or 0
            status = code if isinstance(code, grpc.StatusCode) else CODES.get(code, grpc.StatusCode.UNKNOWN)
            self._log.call(context.peer(), self._method, status.name, self.name, time.monotonic() - started)
