"""OCI image archives, as containerd imports them. One may leave out layers that the importing store holds already: that
makes loading a changed image quick.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection, Iterable
from typing import IO, Protocol

_MARKER = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Source(Protocol):
    """Where images come from: their manifests by name, their other blobs by digest. Both raise KeyError."""

    def manifest(self, reference: str) -> bytes:
        """Return an image's OCI manifest."""

    def blob(self, digest: str) -> tuple[int, Iterable[bytes]]:
        """Return the size of a configuration or layer, and its content in pieces."""


def write(source: Source, reference: str, into: IO[bytes], known: Collection[str] = ()) -> int:
    """Write an archive of one image without the blobs in `known`; return the bytes of the blobs that it holds."""
    manifest = source.manifest(reference)
    named = {**descriptor(MANIFEST, manifest), "annotations": {"io.containerd.image.name": reference}}
    index = json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()
    for name, content in (("oci-layout", _MARKER), ("index.json", index), (_path(named["digest"]), manifest)):
        _member(into, name, len(content), [content])
    body = json.loads(manifest)
    written = 0
    for digest in dict.fromkeys(d["digest"] for d in (body["config"], *body["layers"])):
        if digest not in known:
            size, pieces = source.blob(digest)
            _member(into, _path(digest), size, pieces)
            written += size
    into.write(bytes(2 * tarfile.BLOCKSIZE))
    return written


def descriptor(media_type: str, content: bytes) -> dict[str, object]:
    """Return how OCI documents point to some content."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _path(digest: object) -> str:
    return f"blobs/{str(digest).replace(':', '/')}"


def _member(into: IO[bytes], name: str, size: int, pieces: Iterable[bytes]) -> None:
    header = tarfile.TarInfo(name)
    header.size = size
    into.write(header.tobuf(tarfile.PAX_FORMAT))
    written = 0
    for piece in pieces:
        into.write(piece)
        written += len(piece)
    if written != size:
        raise RuntimeError(f"{name} has {written} bytes and not {size}")
    into.write(bytes(-size % tarfile.BLOCKSIZE))


class Single:
    """An image with one layer, made from programs: their paths in the image and on this machine."""

    def __init__(self, reference: str, files: dict[str, str], config: dict[str, object]) -> None:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            for name, path in files.items():
                with open(path, "rb") as content:  # noqa: PTH123  # tarfile takes a file's size from it
                    member = archive.gettarinfo(arcname=name, fileobj=content)
                    member.mode, member.mtime = 0o755, 0
                    member.uid, member.gid, member.uname, member.gname = 0, 0, "", ""
                    archive.addfile(member, content)
        layers = [descriptor("application/vnd.oci.image.layer.v1.tar", layer.getvalue())]
        root = {"type": "layers", "diff_ids": [layers[0]["digest"]]}
        image = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": root}).encode()
        described = descriptor("application/vnd.oci.image.config.v1+json", image)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": layers}
        self._manifests = {reference: json.dumps(manifest).encode()}
        self._blobs = {layers[0]["digest"]: layer.getvalue(), described["digest"]: image}

    def manifest(self, reference: str) -> bytes:
        """Return its manifest. Raises KeyError."""
        return self._manifests[reference]

    def blob(self, digest: str) -> tuple[int, Iterable[bytes]]:
        """Return a blob. Raises KeyError."""
        return len(self._blobs[digest]), [self._blobs[digest]]
