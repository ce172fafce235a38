"""Files that hold an ONNX model that is no artifact, and their digest. Asked by server and quantizer.

Exporters write weights into a file beside the .onnx ("external data"): whoever changes that file changes the model. So
the digest covers every file that is loaded, and a file outside of the model's own folder is not loaded at all.
"""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from slipway.api.common.artifact import FileDigest
from workloads import storage
from workloads.errors import BadInput, Corrupt

if TYPE_CHECKING:
    import onnx

EXTERNAL = 1  # onnx.TensorProto.EXTERNAL
# How files begin that carry code: pickles (protocol 2 and later), and zip archives of them, which torch.save writes.
CODE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")


class NotOnnx(BadInput):
    """Error for a file whose bytes are no ONNX model."""


@dataclass(frozen=True)
class OnnxFile:
    """An .onnx file on this machine's disk, its external data beside it, and the digest of all of them."""

    path: Path
    digest: str
    data: tuple[str, ...]


def parse(path: Path) -> "onnx.ModelProto":
    """The graph without its external data. BadInput for code, NotOnnx for what is no ONNX model."""
    import onnx

    with path.open("rb") as stream:
        if stream.read(4).startswith(CODE):
            raise BadInput(
                f"{path.name}: a pickle or an archive of them can run code when it is opened: export to ONNX instead"
            )
    try:
        model = onnx.load(path, load_external_data=False)
        if not model.graph.node and not model.graph.output:
            raise ValueError("no node")
    except Exception as error:  # protobuf's DecodeError has no base of its own
        raise NotOnnx(f"{path.name}: not an ONNX model ({error})") from error
    return model


def fetch(uri: str) -> Path:
    """Fetch a model as storage.fetch does; beside an .onnx file from elsewhere, its external data as well."""
    path = storage.fetch(uri)
    if storage.local_path(uri) is None and path.suffix == ".onnx" and path.is_file():
        names = sorted({_inside(path.name, tensor) for tensor in external(parse(path))})
        storage.fetch_beside(uri, names, path.parent)
    return path


def open_bare(path: Path, expected: str | None = None) -> tuple[OnnxFile, "onnx.ModelProto"]:
    """A local .onnx file with its graph; the files that it names are there, whole, and inside its folder.

    Corrupt when they are not what `expected`, a digest, says.
    """
    model = parse(path)
    data = data_files(path, model)
    digest = digest_of(path, data)
    if expected is not None and digest != expected:
        raise Corrupt(f"{path}: {_contradiction(path, data, digest, expected)}")
    return OnnxFile(path, digest, data), model


def digest_of(path: Path, data: Collection[str]) -> str:
    """Digest of a model: the sha256 of its one file, or with external data that of the tree of all its files.

    That is what `sha256sum model.onnx weights.bin | LC_ALL=C sort -k2 | sha256sum` prints in the model's folder.
    """
    if not data:
        return storage.sha256_of(path)
    names = [path.name, *data]
    folder = path.parent
    return storage.tree_digest(
        FileDigest(path=name, size=(folder / name).stat().st_size, digest=storage.sha256_of(folder / name))
        for name in names
    )


def _contradiction(path: Path, data: Collection[str], digest: str, expected: str) -> str:
    words = f"the model's digest is {digest}, expected {expected}"
    if data and storage.sha256_of(path) == expected:
        words += f": that is {path.name} alone, and a digest covers {', '.join(data)} as well"
    return words


def data_files(path: Path, model: "onnx.ModelProto", listed: Collection[str] | None = None) -> tuple[str, ...]:
    """The model's external files, relative to its folder, in order of their names.

    BadInput for one that lies elsewhere, is missing, or that an artifact does not list; Corrupt for one that is cut.
    """
    sizes: dict[str, int] = {}
    for tensor in external(model):
        name = _inside(path.name, tensor)
        if name not in sizes:
            sizes[name] = _size(path, tensor.name, name)
        if listed is not None and name not in listed:
            raise BadInput(f"{path.name}: the data of {tensor.name} is in {name!r}, which artifact.json does not list")
        start, length = _number(path, tensor, "offset"), _number(path, tensor, "length")
        if start + length > sizes[name]:
            raise Corrupt(f"{path.parent / name}: {sizes[name]} bytes, {path.name} reads up to {start + length}")
    return tuple(sorted(sizes))


def _size(path: Path, tensor: str, name: str) -> int:
    """Bytes of an external file that may be read."""
    data = path.parent / name
    # Hugging Face's cache holds links to model and data, which lie side by side: as ONNX Runtime has it, the folder may
    # be the one of the model's link, or the one of the model itself.
    folders = {path.parent.resolve(), path.resolve().parent}
    if not any(os.path.realpath(data).startswith(f"{folder}{os.sep}") for folder in folders):
        raise BadInput(f"{path.name}: the data of {tensor} leaves the model's folder by a link ({name!r})")
    if not data.is_file():
        raise BadInput(f"{path.name}: the data of {tensor} is missing ({name!r}): put the file beside the model")
    return data.stat().st_size


def _inside(model: str, tensor: "onnx.TensorProto") -> str:
    """The file's path below the model's folder."""
    location = _entry(tensor, "location")
    inside = PurePosixPath(location)
    if not location or inside.is_absolute() or ".." in inside.parts or "\0" in location:
        raise BadInput(f"{model}: the data of {tensor.name} lies outside the model's folder ({location!r})")
    return inside.as_posix()


def _number(path: Path, tensor: "onnx.TensorProto", key: str) -> int:
    text = _entry(tensor, key) or "0"
    if not (text.isascii() and text.isdigit()):
        raise BadInput(f"{path.name}: the data of {tensor.name} has the {key} {text!r}")
    return int(text)


def _entry(tensor: "onnx.TensorProto", key: str) -> str:
    """Value of an entry of a tensor's external data; the last one counts, as in ONNX's own reader.

    Empty without such an entry.
    """
    return next((str(entry.value) for entry in reversed(tensor.external_data) if entry.key == key), "")


def external(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """Every constant that lies in another file."""
    for tensor in tensors(model):
        if tensor.data_location == EXTERNAL:
            yield tensor


def tensors(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """Every constant of a model: of its graph, the graphs in it, its functions and its training information."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
    for information in model.training_info:
        yield from _of_graph(information.initialization)
        yield from _of_graph(information.algorithm)


def _of_graph(graph: Any) -> "Iterator[onnx.TensorProto]":
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> "Iterator[onnx.TensorProto]":
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])]
            for one in (*sparse, *attribute.sparse_tensors):
                yield from (one.values, one.indices)
            for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _of_graph(graph)
