"""Artifacts of kinds causal-lm and lora-adapter: written whole with probes, read with everything checked.

A bare folder of Hugging Face's is read as well, without lineage and probes, and is pinned by the digest of its tree.
"""

import shutil
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.api.common.artifact import (
    DESCRIPTION_FILE,
    TOKENIZER_FILE,
    Architecture,
    Artifact,
    DType,
    Lineage,
    Signature,
    Source,
    Task,
    TensorSpec,
)
from slipway.api.common.language import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FILE,
    CONFIG_FILE,
    OPENVINO_FILES,
    PROBES_FILE,
    AdapterOfModel,
    ArtifactKind,
    LanguageFacts,
    LanguageModel,
)
from workloads import artifact, storage, strict_json
from workloads.errors import BadInput, Corrupt
from workloads.language import config
from workloads.language.probes import Probes
from workloads.language.probes import read as read_probes

if TYPE_CHECKING:
    from collections.abc import Iterator

# What belongs to a language model's folder beside its weights, as Hugging Face's tools write it.
BESIDE = (
    CONFIG_FILE,
    TOKENIZER_FILE,
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)
NEEDED = {
    ArtifactKind.CAUSAL_LM: (CONFIG_FILE,),
    ArtifactKind.LORA_ADAPTER: (ADAPTER_CONFIG_FILE, ADAPTER_FILE),
    ArtifactKind.OPENVINO_LM: (CONFIG_FILE, TOKENIZER_FILE, *OPENVINO_FILES),
}
WEIGHTS = ("*.safetensors", "openvino_model.bin")
# Pickles and code, which some library might run.
PROGRAMS = {".bin", ".pt", ".pth", ".pkl", ".py"}


@dataclass(frozen=True)
class LanguageArtifact:
    """A language model or adapter where it lies. `description` and `probes` are None of a bare folder."""

    folder: Path
    digest: str
    kind: ArtifactKind
    language: LanguageModel | None
    description: Artifact | None = None
    probes: Probes | None = None


def read(where: str | Path, expected: str | None = None) -> LanguageArtifact:
    """The language model or adapter at a path or URI, every file verified where digests are known.

    BadInput: there is none, or of another kind. Corrupt: a file is not what its digest says.
    """
    folder = storage.fetch(str(where))
    if (folder / DESCRIPTION_FILE).is_file():
        return _described(where, expected)
    if not (folder / CONFIG_FILE).is_file():
        raise BadInput(f"{where}: no language model, there is neither {DESCRIPTION_FILE} nor {CONFIG_FILE}")
    digest = storage.tree_digest(storage.digests_of(folder))
    if expected is not None and digest != expected:
        raise Corrupt(f"{where}: the folder's digest is {digest}, expected {expected}")
    return LanguageArtifact(folder, digest, ArtifactKind.CAUSAL_LM, config.described(folder))


def _described(where: str | Path, expected: str | None) -> LanguageArtifact:
    stored = artifact.read(where, expected)
    said = stored.description
    if said.kind is None:
        raise BadInput(f"{where}: an artifact of another layout, {said.task.value} {said.architecture.name}")
    listed = {file.path for file in said.files}
    for name in (*NEEDED[said.kind], PROBES_FILE):
        if name not in listed:
            raise Corrupt(f"{where}: its {DESCRIPTION_FILE} lists no {name}")
    graph = said.kind is ArtifactKind.OPENVINO_LM
    strange = [
        path.name
        for path in stored.folder.iterdir()
        if path.suffix in PROGRAMS and not (graph and path.name.startswith("openvino_"))
    ]
    if strange:
        raise BadInput(f"{where}: {strange[0]} beside the model could be run by a library that reads it: remove it")
    language = said.language
    if said.kind is not ArtifactKind.LORA_ADAPTER:
        found = config.described(stored.folder)
        if language is None or found != language.model_copy(update={"quantization": None}):
            raise Corrupt(f"{where}: {CONFIG_FILE} and {DESCRIPTION_FILE} describe different models")
    return LanguageArtifact(stored.folder, stored.digest, said.kind, language, said, read_probes(stored.folder))


def copy_beside(source: Path, target: Path) -> None:
    """Configuration, tokenizer and chat template of a model's folder, as they are."""
    for name in BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


@contextmanager
def publishing(uri: str, writer: str, said: "Draft") -> "Iterator[Path]":
    """A folder to fill with all files but artifact.json, which is written last; then it stands whole at `uri`.

    `said.digest` is the artifact's afterwards. BadInput where a needed file was not written.
    """
    with storage.publishing(uri, writer) as folder:
        yield folder
        said.finish(folder)


@dataclass
class Draft:
    """Content of artifact.json, before its files are known."""

    kind: ArtifactKind
    lineage: Lineage
    created: str
    parameters: int
    metrics: Mapping[str, float]
    language: LanguageModel | None = None
    adapter: AdapterOfModel | None = None
    base: Source | None = None
    digest: str = ""
    facts: LanguageFacts | None = None

    def finish(self, folder: Path) -> Artifact:
        """Write artifact.json over all files of the folder. The language model's sizes are read of its config.json."""
        language = self.language
        if self.kind is not ArtifactKind.LORA_ADAPTER:
            quantized = language.quantization if language is not None else None
            language = config.described(folder).model_copy(update={"quantization": quantized})
        if not (folder / PROBES_FILE).is_file():
            raise BadInput(f"{folder}: there are no probes, so nobody could prove what serves this model")
        size: Any = language.vocabulary if language is not None else "vocabulary"
        description = Artifact(
            kind=self.kind,
            task=Task.TEXT_GENERATION,
            architecture=Architecture(name=self.kind.value, arguments={}),
            signature=Signature(
                inputs=[TensorSpec(name="input_ids", dtype=DType.INT64, shape=["batch", "tokens"])],
                outputs=[TensorSpec(name="logits", dtype=DType.FLOAT32, shape=["batch", "tokens", size])],
            ),
            language=language,
            adapter=self.adapter,
            base=self.base,
            metrics=dict(self.metrics),
            parameters=self.parameters,
            lineage=self.lineage,
            created=self.created,
            files=storage.digests_of(folder),
        )
        path = folder / DESCRIPTION_FILE
        path.write_text(strict_json.document(description.wire()))
        self.digest = storage.sha256_of(path)
        self.facts = facts_of(folder, description)
        return description


def facts_of(folder: Path, said: Artifact) -> LanguageFacts:
    """Facts that a job tells of its language model or adapter, by which services plan."""
    if said.kind is ArtifactKind.LORA_ADAPTER or said.language is None:
        return LanguageFacts(kind=ArtifactKind.LORA_ADAPTER, base=said.base.digest if said.base is not None else None)
    sizes = said.language.model_dump(include=set(LanguageFacts.model_fields) & set(LanguageModel.model_fields))
    measured = read_probes(folder).measured
    return LanguageFacts(
        kind=(said.kind or ArtifactKind.CAUSAL_LM).value,
        weights_bytes=sum(path.stat().st_size for form in WEIGHTS for path in folder.glob(form)),
        cache_precision=str(measured.get("keyValueCache", "")),
        quantized_from=quantized_from(said),
        **sizes,
    )


def quantized_from(said: Artifact) -> str | None:
    """Digest of the model of which this one is another number format: what fits that one fits this one as well.

    A model that was trained further lists its base among its sources, too, and answers otherwise.
    """
    sources = said.lineage.sources if said.lineage.job.kind == "QuantizationJob" else []
    return sources[0].digest if sources else None
