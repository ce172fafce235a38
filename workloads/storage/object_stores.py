"""Object stores: checks of what is there, and uploads of whole artifacts. Called by storage for URIs that are no path.

A store cannot rename. So a list of what is about to come is written first, `artifact.json` last, and then the list is
removed: what has a list and no artifact.json is the torso of an upload that was killed, and is replaced by the next.
"""

import json
import socket
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from slipway.api.common.artifact import DESCRIPTION_FILE
from workloads import strict_json
from workloads.errors import BadInput, Unavailable

UPLOAD_FILE = ".slipway-upload.json"
# What releases without the list have left of uploads that were killed.
TORSO = {"model.safetensors", "metrics.jsonl", "report.html", "curve.jsonl", "trace.json", "compression.json"}
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "hf": "huggingface_hub"}
BUCKETS = {"s3", "gs"}
ADDRESSES = {
    "s3": "is AWS_ENDPOINT_URL right?",
    "hf": "may the pods go there? A mirror's address goes into HF_ENDPOINT",
}
_CONNECTION = (
    "connecterror",
    "nameresolution",
    "name or service not known",
    "endpointconnection",
    "connecttimeout",
    "connectionerror",
    "clientconnector",
    "timeout",
    "proxyconnection",
    "proxyerror",
)


def of(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI and the path in it. BadInput without its driver."""
    import fsspec

    scheme = urlsplit(uri).scheme
    if scheme == "hf" and "@" not in uri:
        raise BadInput(
            f"{uri}: pin the revision, hf://owner/name@revision/path, so that the same job reads the same bytes"
        )
    try:
        return fsspec.core.url_to_fs(uri, **_settings(scheme))  # type: ignore[no-any-return]
    except OSError as error:  # some drivers connect as soon as they are made
        raise refusal(uri, error, "reached") from error
    except (ImportError, ValueError) as error:
        package = f"; {DRIVERS[scheme]} is one" if scheme in DRIVERS else ""
        raise BadInput(f"{uri}: this image has no driver for {scheme}:// ({error}){package}") from error


def _settings(scheme: str) -> dict[str, Any]:
    """Settings of a driver beside FSSPEC_HTTPS: http's alone does not look for HTTPS_PROXY by itself."""
    import fsspec.config

    if scheme not in {"http", "https"}:
        return {}
    return {"client_kwargs": {"trust_env": True, **fsspec.config.conf.get(scheme, {}).get("client_kwargs", {})}}


def refusal(uri: str, error: Exception, doing: str) -> Exception:
    """Translate a driver's error into BadInput or Unavailable, in words.

    Each driver has errors of its own for credentials, a wrong bucket, a missing right, a dead endpoint.
    """
    kind, words = type(error).__name__, str(error).strip().partition("\n")[0] or "no words"
    told = f"{uri}: it cannot be {doing} ({kind}: {words})"
    lower = f"{kind} {words}".lower()
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror) or any(
        sign in lower for sign in _CONNECTION
    ):
        hint = ADDRESSES.get(urlsplit(uri).scheme, "is it right, and may the pods go there?")
        return Unavailable(f"{told}: nobody answers at the store's address; {hint}")
    if "credential" in lower or "signature" in lower or "invalidaccesskey" in lower.replace(" ", ""):
        return BadInput(f"{told}: give the pods credentials, by a Secret's keys in their env or a service account")
    if isinstance(error, PermissionError) or "denied" in lower or "forbidden" in lower:
        return BadInput(f"{told}: these credentials have not the right: grant it, or choose another path")
    if isinstance(error, FileNotFoundError) or "nosuchbucket" in lower or "bucket does not exist" in lower:
        return BadInput(f"{told}: is there such a bucket? Create it, or choose another one")
    return BadInput(told)


def require_replaceable(uri: str, owner: str) -> None:
    """BadInput unless nothing is at the address, or what this very job has put there, whole or in part."""
    files, root = of(uri)
    try:
        found = _names(files, root)
        theirs = DESCRIPTION_FILE in found and not _owns(files, root, owner)
    except (BadInput, Unavailable):
        raise
    except Exception as error:
        raise refusal(uri, error, "read") from error
    if theirs:
        raise BadInput(f"{uri}: something is there already; object stores cannot move it aside, choose another path")
    known = {DESCRIPTION_FILE, UPLOAD_FILE, *TORSO, *_listed(files, root, found)}
    strange = sorted(found - known) if DESCRIPTION_FILE not in found else []
    if strange:
        raise BadInput(f"{uri}: it holds what is no artifact ({', '.join(strange[:3])}): choose a folder of its own")


def check(uri: str, owner: str) -> None:
    """Write one byte and remove it. BadInput in words, or Unavailable."""
    require_replaceable(uri, owner)
    files, root = of(uri)
    name = f"{root}/.slipway-write-check-{owner}"
    try:
        _make_folder(files, uri, root)
        files.pipe_file(name, b"1")
        files.rm_file(name)
    except Exception as error:
        raise refusal(uri, error, "written") from error


def upload(folder: Path, uri: str, owner: str) -> None:
    """Put a folder's files there, the description last; files of a torso that do not come again are removed."""
    require_replaceable(uri, owner)
    files, root = of(uri)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    try:
        before = _names(files, root)
        stale = (_listed(files, root, before) | (before & TORSO)) - set(names)
        _make_folder(files, uri, root)
        files.pipe_file(f"{root}/{UPLOAD_FILE}", strict_json.document({"owner": owner, "files": names}).encode())
        if DESCRIPTION_FILE in before:
            files.rm_file(f"{root}/{DESCRIPTION_FILE}")
        for name in sorted(names, key=lambda name: (name == DESCRIPTION_FILE, name)):
            _make_folder(files, uri, f"{root}/{PurePosixPath(name).parent}".rstrip("/."))
            files.put_file(str(folder / name), f"{root}/{name}")
        for name in (*sorted(stale & before), UPLOAD_FILE):
            files.rm_file(f"{root}/{name}")
    except Exception as error:
        raise refusal(uri, error, "written") from error


def _make_folder(files: Any, uri: str, path: str) -> None:
    """Make a folder, except in buckets: they have none, and their driver would make a bucket of a misspelled name."""
    if urlsplit(uri).scheme not in BUCKETS:
        files.makedirs(path, exist_ok=True)


def _names(files: Any, root: str) -> set[str]:
    """Names of all objects below, relative to it."""
    files.invalidate_cache()
    try:
        return {str(path).removeprefix(root).lstrip("/") for path in files.find(root)} - {""}
    except FileNotFoundError:
        return set()


def _listed(files: Any, root: str, found: set[str]) -> set[str]:
    """Names in the list of an upload that was not finished."""
    if UPLOAD_FILE not in found:
        return set()
    try:
        return {str(name) for name in json.loads(files.cat_file(f"{root}/{UPLOAD_FILE}"))["files"]}
    except (ValueError, KeyError, TypeError):
        return set()


def _owns(files: Any, root: str, owner: str) -> bool:
    """Tell whether the artifact there is this very job's, by its uid."""
    try:
        job = json.loads(files.cat_file(f"{root}/{DESCRIPTION_FILE}"))["lineage"]["job"]
        return bool(job.get("uid")) and str(job["uid"])[: len(owner)] == owner
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
