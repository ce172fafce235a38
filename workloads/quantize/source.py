"""Source of a job: the model to quantize, pinned by its digest, and what is known of it. Written by stage export."""

from dataclasses import dataclass
from typing import Any

from slipway.api.common.artifact import DESCRIPTION_FILE, Preprocessing, Task, TextProcessing
from workloads import artifact
from workloads.artifact import StoredArtifact
from workloads.onnx import foreign_formats, model_files
from workloads.onnx.file import Port
from workloads.onnx.model_files import OnnxFile

ONNX_FILE = "model.onnx"


@dataclass(frozen=True)
class Source:
    """The float model's origin.

    `trainable` is an artifact with weights, from which torch can build the module again.
    """

    uri: str
    digest: str
    trainable: bool
    is_artifact: bool
    ports: list[Port]
    preprocessing: Preprocessing | None
    task: Task | None = None
    text: TextProcessing | None = None

    @property
    def fixed_batch(self) -> int | None:
        """The batch length that is burnt into the graph, or None when any length goes."""
        return next((port.shape[0] for port in self.ports if port.shape and port.shape[0] is not None), None)

    def record(self) -> dict[str, Any]:
        """JSON object of the source, which `restore` reads."""
        return {
            "uri": self.uri,
            "digest": self.digest,
            "trainable": self.trainable,
            "isArtifact": self.is_artifact,
            "ports": [
                {"name": port.name, "dtype": port.dtype, "shape": list(port.shape), "axes": list(port.axes)}
                for port in self.ports
            ],
            "preprocessing": self.preprocessing.wire() if self.preprocessing else None,
            "task": self.task,
            "text": self.text.wire() if self.text else None,
        }

    @classmethod
    def restore(cls, record: dict[str, Any]) -> "Source":
        """Restore a source from the JSON object that `record` made."""
        preprocessing = record["preprocessing"]
        return cls(
            uri=record["uri"],
            digest=record["digest"],
            trainable=record["trainable"],
            is_artifact=record["isArtifact"],
            ports=[
                Port(port["name"], port["dtype"], tuple(port["shape"]), tuple(port.get("axes", ())))
                for port in record["ports"]
            ],
            preprocessing=Preprocessing.model_validate(preprocessing) if preprocessing else None,
            task=Task(record["task"]) if record.get("task") else None,
            text=TextProcessing.model_validate(record["text"]) if record.get("text") else None,
        )


def open_source(uri: str, expected: str | None) -> StoredArtifact | OnnxFile:
    """The artifact at a URI, or the bare .onnx file with its external data; verified either way."""
    path = model_files.fetch(uri)
    if path.is_dir() and (path / DESCRIPTION_FILE).is_file():
        return artifact.read(path, expected)
    foreign_formats.require_known(uri, path)
    path = foreign_formats.only_onnx(path)
    if path.is_dir():
        return artifact.read(path, expected)  # says that it is none
    return model_files.open_bare(path, expected)[0]
