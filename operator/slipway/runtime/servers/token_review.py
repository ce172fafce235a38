"""Identity of the pod that sent a request, by its projected service-account token. Used by progress_server.

The API server judges the token (TokenReview): signature, expiry, audience, and that the pod it is bound to still
exists. Which pod that is, it tells in user.extra; servers too old for that have at least vouched for the token, so its
own claims are believed then. A token that is not bound to a pod proves nothing about a pod and counts as no identity.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from slipway.runtime.client.kube import Kube

GOOD_SECONDS = 60.0
BAD_SECONDS = 10.0
REMEMBERED = 4096
MAX_TOKEN = 8192
REVIEWS_AT_ONCE = 4
"""So that a flood of made-up tokens can't use up the client's requests."""

_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """A pod, proven by its token."""

    namespace: str
    name: str
    uid: str


class TokenReviewer:
    """Asks the API server about tokens and remembers the answers for a short while."""

    def __init__(self, kube: Kube, audience: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._audience = audience
        self._clock = clock
        self._slots = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._known: OrderedDict[bytes, tuple[float, PodIdentity | None]] = OrderedDict()

    async def identify(self, token: str) -> PodIdentity | None:
        """The pod that the token is bound to, None if it is not valid here. Raises ApiError if nobody can tell."""
        if not 0 < len(token) <= MAX_TOKEN or not token.isascii():
            return None
        digest = hashlib.sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is not None and known[0] > self._clock():
            return known[1]
        async with self._slots:
            status = await self._kube.token_review(token, (self._audience,))
        identity = self._pod(status, token)
        self._known[digest] = (self._clock() + (GOOD_SECONDS if identity else BAD_SECONDS), identity)
        self._known.move_to_end(digest)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return identity

    def _pod(self, status: Mapping[str, Any], token: str) -> PodIdentity | None:
        # A server that does not know audiences leaves them out and would accept a token meant for somebody else.
        if status.get("authenticated") is not True or self._audience not in (status.get("audiences") or ()):
            return None
        user = status.get("user") or {}
        account = str(user.get("username") or "")
        if not account.startswith(_ACCOUNT):
            return None
        namespace = account.removeprefix(_ACCOUNT).partition(":")[0]
        extra = user.get("extra") or {}
        name, uid = _first(extra.get(_POD_NAME)), _first(extra.get(_POD_UID))
        if not uid:
            pod = _claims(token).get("pod") or {}
            name, uid = str(pod.get("name") or ""), str(pod.get("uid") or "")
        return PodIdentity(namespace, name, uid) if uid else None


def _first(values: Any) -> str:
    return str(values[0]) if isinstance(values, list) and values else ""


def _claims(token: str) -> Mapping[str, Any]:
    """The Kubernetes claims of a JWT that the API server has already judged to be its own."""
    try:
        payload = token.split(".")[1]
        document = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        claims = document["kubernetes.io"]
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return {}
    return claims if isinstance(claims, Mapping) else {}
