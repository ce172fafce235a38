"""Whole job of a language model in one stage: rungs in order until one passes, judged from its files, then published.

Finished layers and judged candidates stay in the work folder, so an attempt that was killed goes on. Called by
quantize.run in place of the stages, which are those of ONNX graphs.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from slipway.api.common.language import ArtifactKind
from slipway.api.common.sources import DatasetChoice, DatasetName
from slipway.api.quantization.ladder import CALIBRATED, LADDER, LANGUAGE_LADDER, LANGUAGE_RUNGS, Rung
from slipway.api.quantization.status import Stage, StageResult
from workloads import data
from workloads.data.texts.supervised import SupervisedSet
from workloads.errors import BadInput
from workloads.language import artifacts
from workloads.language.config import checked, described
from workloads.language.layerwise import Layerwise
from workloads.language.text_tokenizer import TextTokenizer
from workloads.quantize.job import Job
from workloads.quantize.language import candidate, judging, tasks
from workloads.quantize.language.candidate import Wanted
from workloads.quantize.language.forms import Form, form_of
from workloads.quantize.language.gates import verdict
from workloads.quantize.language.judging import Judged
from workloads.quantize.language.publishing import publish
from workloads.quantize.language.rounding import Scheme
from workloads.quantize.language.tables import Tried
from workloads.quantize.language.tasks import Compared
from workloads.quantize.progress import ProgressReporter
from workloads.quantize.workdir import Work

GROUP = 64
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def run(job: Job, reporter: ProgressReporter, stage: Stage) -> StageResult:
    """Climb, publish, tell. BadInput for a job that no language model can be put through."""
    spec = job.spec
    ladder = list(LANGUAGE_LADDER) if tuple(spec.ladder) == LADDER else list(spec.ladder)
    strange = [rung.value for rung in ladder if rung not in LANGUAGE_RUNGS]
    if strange:
        known = ", ".join(rung.value for rung in LANGUAGE_RUNGS)
        raise BadInput(f"ladder: {strange[0]} is not for language models, {known} are")
    source = artifacts.read(job.model_uri, spec.model.digest)
    if source.kind is not ArtifactKind.CAUSAL_LM or "quantization_config" in checked(source.folder):
        raise BadInput(f"{job.model_uri}: expected a causal-lm with float weights")
    work = Work.at(job.work_uri, job.folder)
    form = form_of(spec.target, work.path("language/forms"))
    float_model = Layerwise(source.folder)
    if float_model.swapped and form.kind is ArtifactKind.CAUSAL_LM:
        raise BadInput(
            f"{job.model_uri}: compressed-tensors, which vLLM and transformers read, knows no matrices of GPT-2's "
            "kind: set target.runtime openvino"
        )
    documents = _documents(job, source.folder, evaluation=True)
    calibration = _documents(job, source.folder, evaluation=False)
    tried: list[Tried] = []
    for rung in ladder:
        found = _try(job, work, form, float_model, source.folder, rung, documents, calibration, reporter)
        tried.append(found)
        reporter.say(f"[{rung}] {'passes' if found.passed else 'refused'}: {found.words}")
        if found.passed:
            break
    return publish(job, work, form, source, tried, documents, stage)


def _documents(job: Job, folder: Path, *, evaluation: bool) -> list[torch.Tensor]:
    """Texts as int64 [1, length] each: held-out ones to judge, training ones to calibrate."""
    chosen = job.spec.evaluation if evaluation else job.spec.calibration
    if chosen is None:
        return []
    field = "evaluation" if evaluation else "calibration"
    choice: DatasetChoice | None = chosen.dataset
    if choice is None or choice.name is not DatasetName.SFT:
        raise BadInput(
            f"{field}: a language model is judged on texts: set dataset: {{name: sft, uri: ..., format: text}}"
        )
    uri = folder.absolute().as_uri()
    found = data.open_set(choice.model_copy(update={"tokenizer": uri, "packing": None, "loss": "all"}))
    if not isinstance(found, SupervisedSet):
        raise BadInput(f"{field}.dataset holds no texts")
    part = found.held_out if evaluation else found.training
    count = min(len(part), chosen.samples or len(part))
    rows = [part.batch([index])[0][0] for index in range(count)]
    context = described(folder).context_length
    return [torch.from_numpy(row[0][row[1] > 0])[None, :context] for row in rows if int((row[1] > 0).sum()) > 1]


def _scheme(job: Job, rung: Rung, folder: Path) -> Scheme:
    said, wanted = checked(folder), job.spec.weights
    name = str(said.get("dtype") or said.get("torch_dtype") or "float32")
    symmetric = bool(wanted.symmetric)
    bits = 8 if rung in {Rung.WEIGHT_ONLY_INT8, Rung.FP8_DYNAMIC} else 4
    return Scheme(bits, wanted.group_size or GROUP, symmetric, DTYPES.get(name, torch.float32))


def _try(  # noqa: PLR0913, PLR0917 (parts of one job, in one place)
    job: Job,
    work: Work,
    form: Form,
    float_model: Layerwise,
    folder: Path,
    rung: Rung,
    documents: Sequence[torch.Tensor],
    calibration: Sequence[torch.Tensor],
    reporter: ProgressReporter,
) -> Tried:
    at, name = work.folder / "language" / rung.value, f"language/{rung}-judged"
    needed = calibration if rung in CALIBRATED else []
    wanted = Wanted(rung, _scheme(job, rung, folder), list(job.spec.exclude.nodes))
    candidate.build(float_model, folder, wanted, needed, at)
    record = work.read(name)
    if record is None:
        # From what was written, as everybody will read it.
        record = asdict(judging.judge(float_model, form.scorer(at), documents))
        if all(map(_finite, record.values())):
            work.write(name, record)
    judged, size = Judged(**record), form.bytes_of(at)
    answered = _answered(job, work, form, float_model, at, rung)
    found = verdict(judged, size / form.bytes_of(folder), job.spec.gates, answered)
    return Tried(rung, at, judged, size, found.gates, found.words)


def _answered(job: Job, work: Work, form: Form, float_model: Layerwise, at: Path, rung: Rung) -> list[Compared]:
    """Answers of both models to the questions of each task; of the float model once for all rungs."""
    found: list[Compared] = []
    for task in job.spec.evaluation.tasks or ():
        listed, tokenizer = tasks.read(task), TextTokenizer(at)
        context, answers = int(float_model.config.max_position_embeddings), []
        for name in ("float", rung.value):
            record = work.read(f"language/{name}-{task.name}")
            if record is None:
                model = float_model if name == "float" else form.scorer(at)
                record = {"right": tasks.chosen(model, listed, tokenizer, context)}
                work.write(f"language/{name}-{task.name}", record)
            answers.append(record["right"])
        found.append(Compared(task.name, *answers))
    return found


def _finite(values: Sequence[float]) -> bool:
    return all(value == value and abs(value) != float("inf") for value in values)  # noqa: PLR0124
