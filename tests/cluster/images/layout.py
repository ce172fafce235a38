"""OCI image layouts: a folder of blobs by digest, and the archive that containerd imports.

An archive may leave out layers that the importing store has already: that makes loading a changed image quick.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_MARKER = json.dumps({"imageLayoutVersion": "1.0.0"}).encode()
_TYPES = "application/vnd.oci.image"


@dataclass(frozen=True)
class Layout:
    """An OCI image layout in `folder`, which may hold several images and shares their layers."""

    folder: Path

    def manifest(self, reference: str) -> dict[str, Any]:
        """Return the descriptor (digest, size, mediaType) of an image's manifest. Raises KeyError."""
        index = json.loads((self.folder / "index.json").read_text())
        for entry in index["manifests"]:
            if entry.get("annotations", {}).get("org.opencontainers.image.ref.name") == reference:
                return {key: entry[key] for key in ("mediaType", "digest", "size")}
        raise KeyError(reference)

    def blobs(self, reference: str) -> list[str]:
        """Return the digests of an image: manifest, configuration, layers."""
        manifest = self.manifest(reference)["digest"]
        body = json.loads(self.blob(manifest).read_text())
        return [manifest, body["config"]["digest"], *(layer["digest"] for layer in body["layers"])]

    def blob(self, digest: str) -> Path:
        """Return the file of a blob."""
        return self.folder / "blobs" / Path(*digest.split(":"))

    def stream(self, reference: str, into: IO[bytes], known: Collection[str] = ()) -> int:
        """Write an archive of one image without the blobs in `known`; return the bytes of the blobs it holds."""
        named = {**self.manifest(reference), "annotations": {"io.containerd.image.name": reference}}
        index = json.dumps({"schemaVersion": 2, "manifests": [named]}).encode()
        written = 0
        with tarfile.open(fileobj=into, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name, content in (("oci-layout", _MARKER), ("index.json", index)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
            manifest, *others = self.blobs(reference)
            for digest in [manifest, *(d for d in others if d not in known)]:
                path = self.blob(digest)
                archive.add(path, f"blobs/{digest.replace(':', '/')}", recursive=False)
                written += path.stat().st_size
        return written


def single(folder: Path, reference: str, files: dict[str, Path], config: dict[str, Any]) -> Layout:
    """Make the layout of a one-layer image: programs by their path in the image. `config` as in OCI's image spec."""
    layout = Layout(folder)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = path.stat().st_size, 0o755
            with path.open("rb") as content:
                archive.addfile(member, content)
    layer = _add(layout, buffer.getvalue(), f"{_TYPES}.layer.v1.tar")
    root = {"type": "layers", "diff_ids": [layer["digest"]]}
    image = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": root}
    described = _add(layout, json.dumps(image).encode(), f"{_TYPES}.config.v1+json")
    manifest = {"schemaVersion": 2, "mediaType": f"{_TYPES}.manifest.v1+json", "config": described, "layers": [layer]}
    named = _add(layout, json.dumps(manifest).encode(), f"{_TYPES}.manifest.v1+json")
    named["annotations"] = {"org.opencontainers.image.ref.name": reference}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_bytes(_MARKER)
    return layout


def _add(layout: Layout, content: bytes, media_type: str) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    path = layout.blob(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}
