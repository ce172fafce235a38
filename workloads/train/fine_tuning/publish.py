"""Artifacts of a fine-tuned language model: the adapter, the merged model, or the model that was trained whole.

Each is put together from what is written, read back, and answers its probes as a model that was loaded anew: what is
published is what was measured. Called by results.publish, and by the rehearsal with an untrained model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from slipway.api.common.artifact import HISTORY_FILE, Lineage, Source
from slipway.api.common.language import ADAPTER_CONFIG_FILE, CONFIG_FILE, ArtifactKind
from slipway.api.training.fine_tuning.peft import Merge, PeftMethod, QuantizedBase
from slipway.api.training.recipe import Recipe
from workloads import strict_json, tied_tensors
from workloads.errors import BadInput
from workloads.language import adapters, artifacts, config, probes, scoring, weights
from workloads.language.artifacts import Draft, LanguageArtifact
from workloads.train.fine_tuning.causal_lm import plain_names, with_adapters
from workloads.train.fine_tuning.quantized_base import quantize, restore

NOTHING = "NothingLearned"


@dataclass(frozen=True)
class Trained:
    """A fine-tuned model before it is written. `tensors` as Strategy.weights has them; `files` by name, for people."""

    recipe: Recipe
    base: LanguageArtifact
    tensors: Mapping[str, torch.Tensor]
    prompts: list[list[int]]
    lineage: Lineage
    metrics: Mapping[str, float]
    history: list[dict[str, object]]
    files: Mapping[str, str | bytes]
    chat_template: str | None = None


def publish(trained: Trained, uri: str, writer: str, merge: Merge | None, *, proven: bool = True) -> Draft:
    """Write what the recipe asks for. Returns what is at `uri`.

    `proven`: BadInput (NothingLearned) for an adapter that answers like its base; the rehearsal's does.
    """
    if trained.recipe.peft is None:
        return _model(trained, uri, writer, plain_names(trained.tensors))
    chosen = merge or Merge.ADAPTER
    if chosen is not Merge.MERGED:
        where = f"{uri}-adapter" if chosen is Merge.BOTH else uri
        said = _adapter(trained, where, writer, proven=proven)
        if chosen is Merge.ADAPTER:
            return said
    return _model(trained, uri, writer, _merged(trained))


def _draft(trained: Trained, kind: ArtifactKind) -> Draft:
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    source = Source(uri=str(trained.recipe.model.uri), digest=trained.base.digest)
    about = trained.lineage.model_copy(update={"sources": [*trained.lineage.sources, source]})
    return Draft(kind, about, created, 0, trained.metrics)


def _write_common(trained: Trained, folder: Path) -> None:
    (folder / HISTORY_FILE).write_text("".join(strict_json.line(row) for row in trained.history))
    for name, content in trained.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def _attached(trained: Trained, *, quantized: bool) -> nn.Module:
    """The base, loaded anew, with the trained adapter: as trained, or on the base as it is served."""
    recipe = trained.recipe
    assert recipe.peft is not None  # noqa: S101 (both callers have looked)
    model = weights.load(trained.base.folder)
    if quantized and recipe.peft.method is PeftMethod.QLORA:
        quantize(model, recipe.peft.quantize_base or QuantizedBase())
        restore(model)
    made = with_adapters(model, recipe.peft, recipe.seed)
    own = made.state_dict()
    for name, tensor in plain_names(trained.tensors).items():
        own[name].copy_(tensor)
    return made.eval()


def _adapter(trained: Trained, uri: str, writer: str, *, proven: bool) -> Draft:
    said = _draft(trained, ArtifactKind.LORA_ADAPTER)
    said.base = Source(uri=str(trained.recipe.model.uri), digest=trained.base.digest)
    with artifacts.publishing(uri, writer, said) as folder:
        _attached(trained, quantized=False).save_pretrained(folder)  # type: ignore[operator]
        (folder / "README.md").unlink(missing_ok=True)
        _set_base(folder / ADAPTER_CONFIG_FILE, trained)
        base = weights.load(trained.base.folder)
        before = scoring.greedy(base, trained.prompts)
        after = scoring.measured(adapters.attach(base, folder), trained.prompts)
        listed = [probes.Probe(one.prompt, one.answer, of) for one, of in zip(after.probes, before, strict=True)]
        if proven and not probes.distinct(listed):
            raise BadInput(
                f"{NOTHING}: with the adapter the model answers as without it, so nobody could prove that it is "
                "applied: train longer, or raise the learning rate"
            )
        probes.Probes(after.measured, listed).write(folder)
        said.adapter = adapters.described(folder)
        said.parameters = sum(tensor.numel() for tensor in trained.tensors.values())
        _write_common(trained, folder)
    return said


def _set_base(path: Path, trained: Trained) -> None:
    """peft writes the path of this machine as the base's name."""
    said = config.json_of(path)
    said["base_model_name_or_path"] = str(trained.recipe.model.uri)
    said["target_modules"] = (
        sorted(said["target_modules"]) if isinstance(said["target_modules"], list) else said["target_modules"]
    )
    path.write_text(strict_json.document(said))


def _merged(trained: Trained) -> dict[str, torch.Tensor]:
    """Weights with the adapter added; of qlora to the base that was trained on, which is not the one that was given."""
    return dict(adapters.merged(_attached(trained, quantized=True)).state_dict())


def _model(trained: Trained, uri: str, writer: str, tensors: Mapping[str, torch.Tensor]) -> Draft:
    said = _draft(trained, ArtifactKind.CAUSAL_LM)
    with artifacts.publishing(uri, writer, said) as folder:
        artifacts.copy_beside(trained.base.folder, folder)
        if trained.chat_template is not None:
            (folder / "chat_template.jinja").write_text(trained.chat_template)
        found = config.json_of(folder / CONFIG_FILE)
        plain = {**found, "dtype": "float32", "torch_dtype": "float32"}
        (folder / CONFIG_FILE).write_text(strict_json.document(plain, sort=False))
        weights.save(folder, tied_tensors.written(tensors))
        model = weights.load(folder)
        scoring.measured(model, trained.prompts).write(folder)
        said.parameters = sum(one.numel() for one in model.parameters())
        _write_common(trained, folder)
    return said
