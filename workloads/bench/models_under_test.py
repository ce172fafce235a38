"""Models under test, each on an engine: the server's own, opened as the server opens them, or LiteRT.

An artifact folder, an .onnx file or a .tflite file; every engine that is asked for, or every one that can take it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.api.common.artifact import DESCRIPTION_FILE
from slipway.api.serving.engine import EngineName
from workloads import artifact, storage
from workloads.errors import BadInput
from workloads.onnx import litert
from workloads.serve.datatypes import Array, Datatype
from workloads.serve.engines import choose
from workloads.serve.engines.engine import Engine, Options, Unavailable
from workloads.serve.engines.warmup import warm_up
from workloads.serve.model import Model, load
from workloads.serve.signature import Signature, Tensor, from_artifact

LITERT = "litert"
LITERT_FILE = "model.tflite"
ENGINES = (*(engine.value for engine in choose.FILES), LITERT)


class LiteRt:
    """LiteRT's interpreter with the face of the server's engines."""

    name = LITERT

    def __init__(self, session: litert.Session) -> None:
        self._session: litert.Session | None = session

    @property
    def details(self) -> Mapping[str, str]:
        """Details of the engine: its device, which is always the CPU here."""
        return {"device": "CPU"}

    def run(self, inputs: Sequence[Array]) -> Sequence[Array]:
        """Run one batch, sample by sample, as LiteRT computes."""
        assert self._session is not None  # noqa: S101  (nobody runs what is closed)
        return self._session.run(None, dict(enumerate(inputs)))  # type: ignore[arg-type]

    def close(self) -> None:
        """Drop the interpreter, which goes with its last reference."""
        self._session = None


@dataclass(frozen=True)
class Source:
    """A model where it lies; `litert` is its .tflite file, for which there is no other engine."""

    where: str
    model: Model
    litert: Path | None

    def file(self, engine: str) -> Path:
        """Model file that this engine reads."""
        path = self.litert if engine == LITERT else self.model.weights if engine == "torch" else self.model.onnx
        assert path is not None  # noqa: S101  (the engine has opened it)
        return path


@dataclass(frozen=True)
class ModelUnderTest:
    """A model on an engine, warm."""

    source: Source
    engine: Engine


@dataclass(frozen=True)
class AbsentEngine:
    """An engine that cannot take a model here."""

    model: str
    engine: str
    reason: str

    def wire(self) -> dict[str, str]:
        """JSON object of the model, the engine and the reason."""
        return dict(vars(self))


def find(where: str) -> Source:
    """The model at a path or URI, its digests checked. BadInput or Corrupt in words."""
    folder = storage.fetch(where)
    if folder.is_file() and folder.suffix == ".tflite":
        return _litert(where, folder, None)
    if (folder / DESCRIPTION_FILE).is_file():
        stored = artifact.read(str(folder))
        if any(file.path == LITERT_FILE for file in stored.description.files):
            return _litert(where, folder / LITERT_FILE, stored)
    return Source(where, load(where, "", "1"), None)


def _litert(where: str, path: Path, stored: artifact.StoredArtifact | None) -> Source:
    if stored is not None:
        signature, digest = from_artifact(stored.description.signature), stored.digest
    else:
        inputs = tuple(
            Tensor(one.name, Datatype.FP32, ("batch", *(axis or 1 for axis in one.shape[1:])))
            for one in _session(path, 1).get_inputs()
        )
        signature, digest = Signature(inputs, ()), storage.sha256_of(path)
    described = stored.description if stored is not None else None
    return Source(where, Model(path.stem, "1", signature, digest, path.parent, None, None, described), path)


def _session(path: Path, threads: int) -> litert.Session:
    litert.require(trainable=True)
    try:
        return litert.Session(path.read_bytes(), threads)
    except (ValueError, RuntimeError) as error:  # what its interpreter raises for bytes that are no model
        raise BadInput(f"{path}: LiteRT cannot load it ({str(error).strip().splitlines()[0]})") from error


def open_all(
    source: Source, wanted: Sequence[str], options: Options
) -> tuple[list[ModelUnderTest], list[AbsentEngine]]:
    """The model on each of the engines, warm; and those that cannot take it, with the reason."""
    found, absent = [], []
    for name in wanted or ENGINES:
        try:
            found.append(ModelUnderTest(source, open_one(source, name, options)))
        except Unavailable as error:
            absent.append(AbsentEngine(source.where, name, str(error)))
    return found, absent


def open_one(source: Source, name: str, options: Options) -> Engine:
    """Open the model on one engine.

    Unavailable when this engine cannot take this model here, or gives results that are not finite.
    """
    if source.litert is not None or name == LITERT:
        if source.litert is None or name != LITERT:
            raise Unavailable("LiteRT takes .tflite files, the other engines do not")
        return LiteRt(_session(source.litert, options.threads))

    def accept(engine: Any) -> None:
        seen = warm_up(engine, source.model.signature, options.sizes)
        if not seen.finite:
            raise Unavailable(seen.warnings[0])

    try:
        return choose.choose(source.model, [EngineName(name)], options, accept)[0]
    except choose.NoEngine as error:
        raise Unavailable(error.attempts[0].reason) from error
