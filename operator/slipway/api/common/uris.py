"""Rules of URIs: what may be read, what may be written, what must lie on a claim. One set for all three kinds.

A pod opens what a URI names with its own rights, and a status shows it to whoever may read the resource: so a path says
where it leads without being computed, and holds no secret.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from slipway.api.common.base import Model, Rule

PVC = "pvc://"
_CLAIM = PVC + "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_HOST = "[^ /?#]+"
DATA_URI = f"^({_CLAIM}(/[^ ]*)?|file:///[^ ]*|(s3|gs|https)://{_HOST}(/[^ ]*)?|hf://[^ /]+/[^ ]+)$"
FOLDER_URI = f"^({_CLAIM}/|file:///|(s3|gs)://{_HOST}/)[^ /][^ ]*$"
LOCAL_URI = f"^({_CLAIM}/|file:///)[^ /][^ ]*$"
CLAIM_URI = f"^{_CLAIM}/[^ /][^ ]*$"
WEB_URI = f"^(https?://{_HOST}(/[^ ]*)?|file:///[^ /][^ ]*)$"

# Names under which PyTorch, Lightning and scikit-learn leave pickles.
PICKLE = "[.](pt|pth|bin|pkl|pickle|ckpt|joblib)$"
# `.` and `..` in any spelling, doubled slashes, and control characters.
_DETOUR = "[.][.]|/[.](/|$)|[^:/]//|:////|\\\\|%(2[eEfF]|5[cC]|[01]|7[fF])"
_AUTHORITY = "^[a-z0-9]+://[^/]*@"
_QUERY = "[?#]"

WHERE_READ = "is pvc://claim/path, s3://, gs://, https://, hf://owner/name@revision or file:///path"
WHERE_WRITTEN = (
    "must name a folder that can be written: pvc://claim/path, s3://bucket/path, gs://bucket/path or file:///path"
)


def claim_of(uri: str | None) -> str | None:
    """PersistentVolumeClaim that a `pvc://claim/path` is on; None for any other URI, and for none."""
    return uri.removeprefix(PVC).split("/", 1)[0] if uri is not None and uri.startswith(PVC) else None


def claims_of(uris: Iterable[str | None]) -> list[str]:
    """PersistentVolumeClaims that these URIs are on, each once, in a stable order."""
    return sorted({claim for uri in uris if (claim := claim_of(uri)) is not None})


def read(field: str = "uri", *, where: str = "") -> tuple[Rule, ...]:
    """Rules of a URI that is read. `where`: how the field is called in messages."""
    name = where or field
    return (
        _matching(field, DATA_URI, f"{name} {WHERE_READ}"),
        _plain(field, name),
        _pinned(field),
        *_without(field, name),
    )


def model(field: str = "uri") -> tuple[Rule, ...]:
    """Rules of the URI of a model that is read: no pickle."""
    words = "is a pickle, which can run code when it is opened: train to an artifact, or export to ONNX"
    return (*read(field, where="model.uri"), _free_of(field, PICKLE, f"model.uri {words}"))


def written(field: str = "uri") -> tuple[Rule, ...]:
    """Rules of the URI of a folder that is written.

    A volume's root cannot be renamed, and a web page cannot be written.
    """
    return (
        _matching(field, FOLDER_URI, f"{field} {WHERE_WRITTEN}"),
        _plain(field, field),
        *_without(field, field),
    )


def in_shipped_images(image: Callable[[Any], str | None], *fields: str) -> Rule:
    """Rule of a spec that our own images open all that these fields name; `image` gives one of the user's own.

    A walk over the fields, which a CRD's rules cannot do.
    """
    return Rule(
        None,
        "gs:// needs gcsfs, which the images of Slipway do not have (they open pvc://, file://, s3://, https:// and "
        "hf://): set an image that has it, built with the extra `google`, or read and write another store",
        lambda spec: image(spec) is not None or not any(_has_google(getattr(spec, field)) for field in fields),
    )


def _has_google(value: Any) -> bool:
    if isinstance(value, Model):
        return any(_has_google(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, list | tuple):
        return any(map(_has_google, value))
    return isinstance(value, str) and value.startswith("gs://")


def on_disk(pattern: str, message: str, field: str = "uri") -> tuple[Rule, ...]:
    """Rules of the URI of a folder on a claim, or also of the image: `pattern` is LOCAL_URI or CLAIM_URI."""
    value = _value(field)
    return (
        Rule(
            f"self.{field}.matches('{pattern}') && !self.{field}.matches(r'{_DETOUR}')",
            f"{message}; write the path out, without '..', '/./', '//' or their escapes",
            lambda owner: (
                re.fullmatch(pattern, value(owner) or "") is not None and re.search(_DETOUR, value(owner) or "") is None
            ),
        ),
        *_without(field, field),
    )


def web(field: str = "uri") -> tuple[Rule, ...]:
    """Rules of the address of a service that a pod talks to."""
    return (
        _matching(field, WEB_URI, f"{field} is the address of a server, https://host/path or http://host:port"),
        _plain(field, field),
        *_without(field, field),
    )


def _value(field: str) -> Callable[[Any], str | None]:
    def value(owner: Any) -> str | None:
        found: str | None = getattr(owner, field)
        return found

    return value


def _matching(field: str, pattern: str, message: str) -> Rule:
    value = _value(field)
    return Rule(
        f"!has(self.{field}) || self.{field}.matches('{pattern}')",
        message,
        lambda owner: (uri := value(owner)) is None or re.fullmatch(pattern, uri) is not None,
    )


def _free_of(field: str, pattern: str, message: str) -> Rule:
    value = _value(field)
    return Rule(
        f"!has(self.{field}) || !self.{field}.matches(r'{pattern}')",
        message,
        lambda owner: re.search(pattern, value(owner) or "") is None,
    )


def _plain(field: str, name: str) -> Rule:
    words = "must not contain '..', '/./', '//' or their escapes: write the path out"
    return _free_of(field, _DETOUR, f"{name} {words}")


def _pinned(field: str) -> Rule:
    value = _value(field)
    return Rule(
        f"!has(self.{field}) || !self.{field}.startsWith('hf://') || self.{field}.contains('@')",
        "pin the revision, hf://owner/name@revision, so that the same job reads the same data",
        lambda owner: not (value(owner) or "").startswith("hf://") or "@" in (value(owner) or ""),
    )


def _without(field: str, name: str) -> tuple[Rule, ...]:
    user = "must not hold a user or a password, which the status shows: give the pods' environment a Secret's key"
    query = "must not contain '?' or '#': a signed link's key would be shown, and a path ends there; escape them"
    return (_free_of(field, _AUTHORITY, f"{name} {user}"), _free_of(field, _QUERY, f"{name} {query}"))
