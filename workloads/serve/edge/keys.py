"""The keys that clients may show: a folder whose files are keys, read again when it changes. Never logged.

Several keys hold at a time, so that they can be changed one client after the other.
"""

import hashlib
import hmac
import logging
import time
from pathlib import Path

from workloads.errors import BadInput
from workloads.serve.errors import Unauthenticated

LOG = logging.getLogger("slipway.serve.keys")

# The kubelet itself takes a minute to bring a changed Secret.
LOOK_SECONDS = 2.0
BEARER = b"bearer "
LONGEST = 4096
MOST = 256
NEEDED = "this service asks for a key: send Authorization: Bearer KEY, or X-Api-Key: KEY"
UNKNOWN = "the key is none of this service's"


class Keys:
    """Keys of one folder. BadInput when there is none at the start; later the last ones that were there hold."""

    def __init__(self, place: Path, secret: str = "", look_seconds: float = LOOK_SECONDS) -> None:
        """`secret`: its name, for people."""
        self._place = place
        self._pause = look_seconds
        self._digests = _read(place)
        self._looked = time.monotonic()
        if not self._digests:
            raise BadInput(
                f"auth.secretRef: the Secret {secret or place} is missing, or holds no key: create it in the service's "
                "namespace, each of its values a key, such as a random word"
            )

    def check(self, authorization: bytes | None, own: bytes | None) -> None:
        """Unauthenticated unless one of the two headers' values is a key. Takes as long for every wrong one."""
        if authorization is None and own is None:
            raise Unauthenticated(NEEDED)
        self._look()
        shown = [own] if own is not None else []
        if authorization is not None and authorization[: len(BEARER)].lower() == BEARER:
            shown.append(authorization[len(BEARER) :])
        for key in shown:
            digest = hashlib.sha256(key[:LONGEST].strip()).digest()
            # Not `any`: how many are compared must not depend on which it is.
            if sum(hmac.compare_digest(digest, known) for known in self._digests):
                return
        raise Unauthenticated(UNKNOWN if shown else NEEDED)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < self._pause:
            return
        self._looked = now
        found = _read(self._place)
        if not found:
            LOG.warning("%s holds no key any more: those before hold until it does", self._place)
        elif found != self._digests:
            LOG.info("there are %d keys now", len(found))
            self._digests = found


def _read(place: Path) -> list[bytes]:
    """Digests of what the files hold; a Secret's own bookkeeping begins with two dots."""
    keys = set()
    try:
        for file in sorted(place.iterdir())[:MOST]:
            if not file.name.startswith(".") and file.is_file():
                key = file.read_bytes()[:LONGEST].strip()
                if key:
                    keys.add(hashlib.sha256(key).digest())
    except OSError as error:
        LOG.warning("the keys cannot be read: %s", error)
    return sorted(keys)
