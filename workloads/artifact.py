"""Writing of model artifacts, and reading with all digests checked. Used by trainer, quantizer and server.

The format is described in slipway.api.common.artifact. Weights are safetensors; nothing here ever unpickles.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from slipway.api.common.artifact import DESCRIPTION_FILE, FORMAT_VERSION, HISTORY_FILE, WEIGHTS_FILE, Artifact
from workloads import storage, strict_json
from workloads.errors import BadInput, Corrupt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact where it lies: `digest` is the sha256 of its artifact.json, which fixes every other file."""

    folder: Path
    description: Artifact
    digest: str


def read(where: str | Path, expected: str | None = None) -> StoredArtifact:
    """The artifact at a path or URI with every file verified.

    BadInput: nothing there, no artifact, a newer format. Corrupt: a file is not what its digest says, or the artifact
    is not the `expected` one.
    """
    folder = storage.fetch(str(where))
    path = folder / DESCRIPTION_FILE
    if not path.is_file():
        raise BadInput(f"{where}: not a model artifact, there is no {DESCRIPTION_FILE}")
    digest = storage.sha256_of(path)
    if expected is not None and digest != expected:
        raise Corrupt(f"{where}: the artifact's digest is {digest}, expected {expected}")
    description = _parse(path)
    storage.verify(folder, description.files)
    return StoredArtifact(folder, description, digest)


def _parse(path: Path) -> Artifact:
    try:
        document = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise Corrupt(f"{path}: not JSON ({error})") from error
    version = document.get("formatVersion") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise BadInput(f"{path}: format version {version}, this release reads {FORMAT_VERSION}")
    try:
        return Artifact.model_validate(document)
    except ValidationError as error:
        raise Corrupt(f"{path}: {error}") from error


def describe(task: str, folder: str | Path | None = None, **said: Any) -> None:
    """Say of a model of your own what its files do not say: the short artifact.json of a command of one's own.

    `folder` is where the program has put model.onnx or model.safetensors, SLIPWAY_OUTPUT_DIR when unset. `said` are
    fields of slipway.api.common.artifact, in Python's or in JSON's names: labels, metrics, preprocessing, signature,
    architecture. What is left out follows from the files. Process 0 alone writes. BadInput for what makes no sense.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    place = folder or os.environ.get("SLIPWAY_OUTPUT_DIR")
    if not place:
        raise BadInput("where is the model? Give describe() its folder, or the job spec.output")
    nothing = {"shape": ["batch"], "dtype": "float32"}
    rest = {
        "architecture": {"name": "onnx", "arguments": {}},
        "signature": {"inputs": [{"name": "x", **nothing}], "outputs": [{"name": "y", **nothing}]},
        "parameters": 0,
        "lineage": {"job": {"kind": "TrainingJob", "name": "-"}},
        "created": "-",
        "files": [],
    }
    try:
        whole = Artifact.model_validate({**rest, "task": task, **said})
    except ValidationError as error:
        raise BadInput("; ".join(f"{problem['loc']}: {problem['msg']}" for problem in error.errors())) from error
    names = {to_camel(name) for name in said} | {"task"}
    unknown = names - {to_camel(name) for name in Artifact.model_fields}
    if unknown:
        raise BadInput(f"artifact.json has no {', '.join(sorted(unknown))}")
    written = {name: value for name, value in whole.wire().items() if name in names}
    (Path(place) / DESCRIPTION_FILE).write_text(strict_json.document(written))


def write(
    uri: str,
    writer: str,
    description: Artifact,
    weights: "Mapping[str, torch.Tensor]",
    history: Iterable[Mapping[str, Any]],
    more: Mapping[str, str | bytes] | None = None,
) -> tuple[Artifact, str]:
    """Publish an artifact at `uri`, whole or not at all. `more`: further files by name, which may have a folder.

    Returns its description with the files' digests, and its own digest.
    """
    from safetensors.torch import save_file

    from workloads import tied_tensors

    with storage.publishing(uri, writer) as folder:
        save_file(tied_tensors.written(weights), folder / WEIGHTS_FILE)
        (folder / HISTORY_FILE).write_text("".join(strict_json.line(row) for row in history))
        for name, content in (more or {}).items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        description = description.model_copy(update={"files": storage.digests_of(folder)})
        path = folder / DESCRIPTION_FILE
        path.write_text(strict_json.document(description.wire()))
        digest = storage.sha256_of(path)
    return description, digest
