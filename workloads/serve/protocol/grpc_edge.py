"""Keys and request ids over gRPC: metadata, as the HTTP server's headers. Only where a service asks for it."""

import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from workloads.serve.edge import Keys
from workloads.serve.errors import Unauthenticated
from workloads.serve.settings import EdgeChoice

ID = "x-request-id"
GIVEN = re.compile(r"[\x21-\x7e]{1,128}")
OPEN_INFERENCE = "/inference.GRPCInferenceService/"
FREE = ("/grpc.health.v1.Health/", *(OPEN_INFERENCE + one for one in ("ServerLive", "ServerReady", "ModelReady")))
Continuation = Callable[[Any], Awaitable[Any]]


def around(choice: EdgeChoice, keys: Keys | None) -> "list[grpc.aio.ServerInterceptor[Any, Any]]":
    """Nothing where the service asks for nothing: a call then costs what it did."""
    return [GrpcEdge(choice, keys)] if keys is not None or choice.request_id else []


class GrpcEdge(grpc.aio.ServerInterceptor):  # type: ignore[misc, unused-ignore]
    """Before and after each call."""

    def __init__(self, choice: EdgeChoice, keys: Keys | None) -> None:
        self._makes = choice.request_id
        self._keys = keys

    async def intercept_service(self, continuation: Continuation, handler_call_details: Any) -> Any:
        """The call's handler, or one that refuses it."""
        said = {name: value for name, value in handler_call_details.invocation_metadata or ()}  # noqa: C416
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        words = self._refusal(handler_call_details.method, said)
        if words or self._makes:
            return _wrapped(handler, words, _id(said) if self._makes else "")
        return handler

    def _refusal(self, method: str, said: dict[str, Any]) -> str:
        if self._keys is None or method.startswith(FREE):
            return ""
        try:
            self._keys.check(_bytes(said.get("authorization")), _bytes(said.get("x-api-key")))
        except Unauthenticated as error:
            return str(error)
        return ""


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _id(said: dict[str, Any]) -> str:
    given = said.get(ID)
    return given if isinstance(given, str) and GIVEN.fullmatch(given) else secrets.token_hex(16)


def _wrapped(handler: Any, refusal: str, name: str) -> Any:
    """The same kind of handler. Whoever is refused has nothing of its message read."""

    async def before(context: Any) -> None:
        if name:
            await context.send_initial_metadata(((ID, name),))
        if refusal:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, refusal)

    async def unary(message: Any, context: Any) -> Any:
        await before(context)
        return await (handler.unary_unary or handler.stream_unary)(message, context)

    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)
    return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)
