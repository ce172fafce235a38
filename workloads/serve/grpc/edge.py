"""Keys, request ids and the log over gRPC: metadata, as the HTTP server's headers. Only where a service asks for it."""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence

from workloads.serve.edge import Keys
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.errors import Unauthenticated
from workloads.serve.grpc.call import Call, Handler
from workloads.serve.grpc.grpc_to_rest import as_bytes
from workloads.serve.http.message import Buffer
from workloads.serve.settings import EdgeChoice

ID = "x-request-id"
GIVEN = re.compile(r"[\x21-\x7e]{1,128}")
OPEN_INFERENCE = "/inference.GRPCInferenceService/"
FREE = ("/grpc.health.v1.Health/", *(OPEN_INFERENCE + one for one in ("ServerLive", "ServerReady", "ModelReady")))


def around(
    choice: EdgeChoice, keys: Keys | None, log: AccessLog | None, replied: Callable[[str], None]
) -> "GrpcEdge | None":
    """The edge; none where the service asks for nothing: a call then costs what it did.

    `replied` hears of what is refused.
    """
    return GrpcEdge(choice, keys, log, replied) if keys is not None or log is not None or choice.request_id else None


class GrpcEdge:
    """Works before and after each call."""

    def __init__(
        self, choice: EdgeChoice, keys: Keys | None, log: AccessLog | None, replied: Callable[[str], None]
    ) -> None:
        self._makes = choice.request_id
        self._keys = keys
        self._log = log
        self._replied = replied

    def wrapped(self, handler: Handler) -> Handler:
        """The handler, with what is done around it. Whoever is refused has nothing of its message read."""

        async def answer(call: Call) -> Sequence[Buffer] | None:
            name, started = "", time.monotonic()
            if self._makes or self._log is not None:
                name = _id(call.said)
            if self._makes:
                call.lead.append((ID.encode(), name.encode()))
            try:
                words = self._refusal(call.path, call.said)
                if words:
                    self._replied(Unauthenticated.grpc)
                    call.fail(Unauthenticated.grpc, words)
                    return None
                return await handler(call)
            finally:
                if self._log is not None:
                    self._log.call(call.peer, call.path, call.status, name, time.monotonic() - started)

        return answer

    def _refusal(self, method: str, said: Mapping[str, str]) -> str:
        if self._keys is None or method.startswith(FREE):
            return ""
        try:
            self._keys.check(
                *(as_bytes(said[name]) if name in said else None for name in ("authorization", "x-api-key"))
            )
        except Unauthenticated as error:
            return str(error)
        return ""


def _id(said: Mapping[str, str]) -> str:
    given = said.get(ID)
    return given if given is not None and GIVEN.fullmatch(given) else secrets.token_hex(16)
