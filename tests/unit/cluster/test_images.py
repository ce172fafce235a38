"""Archives leave out what a store has, buildah's storage yields the exact layers, tags follow the content."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import paths
from tests.cluster.images import archive, build, wheels
from tests.cluster.images.archive import Single
from tests.cluster.images.build import IMAGES, Image
from tests.cluster.images.storage import BuildahStorage
from tests.cluster.images.wheels import pinned

NAME = "localhost/slipway/x:1"


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def members(packed: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(packed)) as opened:
        found = {m.name: opened.extractfile(m) for m in opened.getmembers()}
        return {name: content.read() for name, content in found.items() if content}


def written(source: archive.Source, known: set[str] | None = None) -> dict[str, bytes]:
    into = io.BytesIO()
    archive.write(source, NAME, into, known or set())
    return members(into.getvalue())


@pytest.fixture
def single(tmp_path: Path) -> Single:
    (tmp_path / "program").write_bytes(b"\x7fELF" * 300)
    return Single(NAME, {"bin/program": str(tmp_path / "program")}, {"Entrypoint": ["/bin/program"]})


def test_every_blob_of_an_archive_has_its_digest_and_the_index_names_the_image(single: Single) -> None:
    files = written(single)
    for name, content in files.items():
        if name.startswith("blobs/"):
            assert name == f"blobs/{digest(content).replace(':', '/')}"
    entry = json.loads(files["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == NAME
    manifest = json.loads(files[f"blobs/{entry['digest'].replace(':', '/')}"])
    layer = members(files[f"blobs/{manifest['layers'][0]['digest'].replace(':', '/')}"])
    assert layer == {"bin/program": b"\x7fELF" * 300}


def test_known_layers_are_left_out(single: Single) -> None:
    layer = json.loads(single.manifest(NAME))["layers"][0]["digest"]
    full, less = written(single), written(single, {layer})
    assert set(full) - set(less) == {f"blobs/{layer.replace(':', '/')}"}


def test_the_same_program_makes_the_same_image(single: Single, tmp_path: Path) -> None:
    os.utime(tmp_path / "program", (1, 1))
    again = Single(NAME, {"bin/program": str(tmp_path / "program")}, {"Entrypoint": ["/bin/program"]})
    assert again.manifest(NAME) == single.manifest(NAME)


def buildah_folder(root: Path) -> tuple[BuildahStorage, bytes]:
    """Lay out one image as containers/storage does: a layer's files apart from the rest of its archive."""
    buffer = io.BytesIO()
    entries: list[dict[str, Any]] = []
    diff = root / "overlay" / "l1" / "diff"
    for name, content in (("app/code.py", b"print()\n" * 100), ("app/empty", b""), ("app/\udce9t\udce9", b"latin")):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        header = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        padding = bytes(-len(content) % tarfile.BLOCKSIZE)
        buffer.write(header + content + padding)
        path = diff / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        raw = base64.b64encode(name.encode("utf-8", "surrogateescape")).decode()
        named = {"name": name} if name.isascii() else {"name_raw": raw}
        entries.append({"type": 2, "payload": base64.b64encode(header).decode()})
        entries.append({"type": 1, **named, "payload": "crc", **({"size": len(content)} if content else {})})
        entries.append({"type": 2, "payload": base64.b64encode(padding).decode()})
    layers, images = root / "overlay-layers", root / "overlay-images"
    layers.mkdir()
    with gzip.open(layers / "l1.tar-split.gz", "wt") as lines:
        lines.write("\n".join(json.dumps(e) for e in entries))
    layer = buffer.getvalue()
    record = {"id": "l1", "diff-digest": digest(layer), "diff-size": len(layer)}
    (layers / "layers.json").write_text(json.dumps([record, {"id": "empty"}]))
    config = b"{}"
    described = [archive.descriptor("config", config), archive.descriptor("layer", layer)]
    manifest = json.dumps({"config": described[0], "layers": described[1:]})
    identity = digest(config).removeprefix("sha256:")
    (images / identity).mkdir(parents=True)
    (images / identity / "manifest").write_text(manifest)
    (images / identity / ("=" + base64.urlsafe_b64encode(digest(config).encode()).decode())).write_bytes(config)
    (images / "images.json").write_text(json.dumps([{"id": "other"}, {"id": identity, "names": [NAME]}]))
    return BuildahStorage(root), layer


def test_a_layer_in_buildahs_storage_is_put_together_again(tmp_path: Path) -> None:
    storage, layer = buildah_folder(tmp_path)
    assert written(storage)[f"blobs/{digest(layer).replace(':', '/')}"] == layer
    with pytest.raises(KeyError):
        storage.manifest("localhost/slipway/none:1")
    with pytest.raises(KeyError):
        storage.blob(digest(b"none"))


def test_a_damaged_layer_is_not_passed_on(tmp_path: Path) -> None:
    storage, _ = buildah_folder(tmp_path)
    (tmp_path / "overlay" / "l1" / "diff" / "app" / "code.py").write_text("short")
    with pytest.raises(RuntimeError, match="bytes and not"):
        written(storage)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_what_an_image_copies_exists_and_runs_as_nobody(image: Image) -> None:
    assert image.sources()
    for source in image.sources():
        assert (paths.REPOSITORY / source).exists()
    text = image.dockerfile.read_text()
    assert "USER 10001:10001" in text
    assert text.splitlines()[-1].startswith(("ENTRYPOINT", "CMD"))


def test_a_tag_changes_with_code_and_wheels_and_with_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "REPOSITORY", tmp_path)
    (tmp_path / "images" / "x").mkdir(parents=True)
    (tmp_path / "images" / "x" / "Dockerfile").write_text("FROM a AS wheels\nCOPY lock /\n\nFROM a\nCOPY code /code\n")
    code = tmp_path / "code"
    (code / "__pycache__").mkdir(parents=True)
    (code / "a.py").write_text("1")
    (tmp_path / "requirements.txt").write_text("a==1")
    image = Image("x")
    assert image.sources() == ["code"]
    first = image.reference("base", tmp_path)
    (code / "__pycache__" / "a.pyc").write_text("compiled")
    (tmp_path / "other.py").write_text("2")
    assert image.reference("base", tmp_path) == first
    seen = {first, image.reference("newer-base", tmp_path)}
    (tmp_path / "requirements.txt").write_text("a==2")
    seen.add(image.reference("base", tmp_path))
    (code / "a.py").rename(code / "b.py")
    seen.add(image.reference("base", tmp_path))
    assert len(seen) == 4


def test_wheels_are_pinned_by_hash(tmp_path: Path) -> None:
    (tmp_path / "Typing_Ext.Foo-1.0+cpu-py3-none-any.whl").write_bytes(b"x")
    assert pinned(tmp_path) == f"typing-ext-foo==1.0+cpu --hash={digest(b'x')}\n"


class Nodes:
    """A cluster that only remembers what it should forget."""

    name = "local"

    def __init__(self) -> None:
        self.unloaded: list[str] = []

    def unload(self, images: list[str]) -> None:
        self.unloaded += images


def test_the_latest_builds_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    removed: list[str] = []
    monkeypatch.setattr(build.buildah, "remove", removed.extend)
    nodes = Nodes()
    for number in (1, 2, 3, 2, 4):
        build.forget_old(nodes, {"x": f"x:{number}", "y": "y:1"}, keep=2)  # type: ignore[arg-type]
    assert nodes.unloaded == removed == ["x:1", "x:3"]


@pytest.mark.parametrize(
    ("lock", "fits"),
    [
        ("torch==2.13.0\nTyping_Ext==1.0\nruff==9\n", True),
        ("torch==2.13.0\nTyping_Ext==1.1\n", False),
        ("torch==2.13.0\n", False),
    ],
)
def test_wheels_serve_while_the_lock_names_their_versions(lock: str, fits: bool) -> None:
    assert wheels.agrees("torch==2.13.0+cpu --hash=sha256:1\ntyping-ext==1.0 --hash=sha256:2\n", lock) is fits
