"""Forms of a candidate: Hugging Face's folder with packed weights, judged by torch; OpenVINO's, judged by its engine.

Both are made of the one set of weights that the rungs have written. What is judged is what will be published and
served, keys and values in the very number format that will serve.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slipway.api.common.language import OPENVINO_FILES, ArtifactKind
from slipway.api.quantization.ladder import CachePrecision, Runtime, Target
from workloads.errors import BadInput
from workloads.language import artifacts, scoring
from workloads.language.layerwise import Layerwise
from workloads.language.openvino import separate
from workloads.language.probes import Probes
from workloads.quantize.language import candidate
from workloads.quantize.language.judging import Scorer


class Form(Protocol):
    """Form in which models are judged and published. Folders are Hugging Face's, of the float model or a candidate."""

    @property
    def kind(self) -> ArtifactKind:
        """Kind of the artifact."""
        ...

    def scorer(self, folder: Path) -> Scorer:
        """Whoever computes the candidate."""
        ...

    def bytes_of(self, folder: Path) -> int:
        """Bytes of the weights in this form."""
        ...

    def publish(self, folder: Path, target: Path, prompts: Sequence[Sequence[int]]) -> Probes:
        """Write the model into `target`, and ask what was written for its probes."""
        ...


class HuggingFace:
    """Folder that vLLM and transformers read."""

    kind = ArtifactKind.CAUSAL_LM

    def scorer(self, folder: Path) -> Scorer:
        """Computed by torch, a layer at a time."""
        return Layerwise(folder)

    def bytes_of(self, folder: Path) -> int:
        """Bytes of the safetensors."""
        return candidate.bytes_of(folder)

    def publish(self, folder: Path, target: Path, prompts: Sequence[Sequence[int]]) -> Probes:
        """Copy the files."""
        candidate.copy(folder, target)
        return scoring.measured(Layerwise(target), prompts)


@dataclass(frozen=True)
class OpenVino:
    """OpenVINO's folder. It is made once for each candidate, below `work`."""

    work: Path
    cache: CachePrecision
    kind = ArtifactKind.OPENVINO_LM

    def _made(self, folder: Path) -> Path:
        at = self.work / f"{folder.name}-openvino"
        if not at.is_dir():
            unfinished = at.with_name(f".{at.name}")
            shutil.rmtree(unfinished, ignore_errors=True)
            separate.write(folder, unfinished)
            unfinished.rename(at)
        return at

    def scorer(self, folder: Path) -> Scorer:
        """Computed by OpenVINO with paged attention."""
        return separate.Paged(self._made(folder), self.cache.value)

    def bytes_of(self, folder: Path) -> int:
        """Bytes of openvino_model.bin."""
        return (self._made(folder) / OPENVINO_FILES[1]).stat().st_size

    def publish(self, folder: Path, target: Path, prompts: Sequence[Sequence[int]]) -> Probes:
        """Copy the files; the probes are the answers of OpenVINO GenAI's engine."""
        made = self._made(folder)
        artifacts.copy_beside(made, target)
        for path in made.glob("openvino_*"):
            shutil.copyfile(path, target / path.name)
        return separate.measured(target, prompts, self.cache.value)


def form_of(target: Target, work: Path) -> Form:
    """The form for a runtime. BadInput for one that runs no language models."""
    if target.runtime is Runtime.OPENVINO:
        return OpenVino(work, target.kv_cache_precision or CachePrecision.F16)
    if target.runtime is not Runtime.ONNXRUNTIME:
        raise BadInput(
            f"target.runtime: {target.runtime.value} runs no language models: openvino does, and without a runtime the "
            "folder is one for vLLM and transformers"
        )
    return HuggingFace()
