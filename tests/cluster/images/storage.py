"""Reads images straight from the folder where buildah keeps them, layer by layer and uncompressed.

`buildah push` would pack or copy every layer each time, 1.2 GB for PyTorch; this copies only what a node lacks. A layer
is kept as a folder of files, and what else its tar archive holds (github.com/vbatts/tar-split): put together they are
the archive again, which containerd checks against its digest.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

_PIECE = 1 << 20


class BuildahStorage:
    """The images in a containers/storage folder of the overlay driver."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._layers = {
            layer["diff-digest"]: (layer["id"], layer["diff-size"])
            for layer in json.loads((root / "overlay-layers" / "layers.json").read_text())
            if "diff-digest" in layer
        }

    def manifest(self, reference: str) -> bytes:
        """Return an image's manifest. Raises KeyError."""
        folder = self._root / "overlay-images"
        for image in json.loads((folder / "images.json").read_text()):
            if reference in image.get("names", ()):
                return Path(folder, image["id"], "manifest").read_bytes()
        raise KeyError(reference)

    def blob(self, digest: str) -> tuple[int, Iterable[bytes]]:
        """Return a layer or a configuration. Raises KeyError."""
        if digest in self._layers:
            identity, size = self._layers[digest]
            return size, self._archive(identity)
        # A configuration's digest is the image's id, and its file is named by the digest in base 64.
        name = "=" + base64.urlsafe_b64encode(digest.encode()).decode()
        path = self._root / "overlay-images" / digest.removeprefix("sha256:") / name
        if not path.exists():
            raise KeyError(digest)
        return path.stat().st_size, [path.read_bytes()]

    def _archive(self, identity: str) -> Iterator[bytes]:
        files = self._root / "overlay" / identity / "diff"
        with gzip.open(self._root / "overlay-layers" / f"{identity}.tar-split.gz") as entries:
            for line in entries:
                entry = json.loads(line)
                if entry["type"] == 2:  # headers and padding, verbatim
                    yield base64.b64decode(entry["payload"])
                elif entry.get("size"):
                    name = entry.get("name") or base64.b64decode(entry["name_raw"]).decode("utf-8", "surrogateescape")
                    yield from _pieces(files / name)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece
