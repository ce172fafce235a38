"""Stage publish: report, artifact, and the end.

Nothing that has not passed its gates is ever written to the output as quantized.
"""

import json
import platform
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from slipway.api.common.artifact import (
    DESCRIPTION_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Architecture,
    Artifact,
    DatasetReference,
    Lineage,
)
from slipway.api.common.artifact import Source as LineageSource
from slipway.api.quantization.evaluation import EvaluationMetric
from workloads import artifact, storage
from workloads.errors import BadInput, Corrupt
from workloads.onnx import external_data, session
from workloads.onnx import file as onnx_file
from workloads.quantize.context import COMPRESSED, SOURCE, Context
from workloads.quantize.ladder import result
from workloads.quantize.ladder.candidates import FLOAT, SUFFIXES, candidate_of, details_of, model_path
from workloads.quantize.report import figures
from workloads.quantize.report.page import page
from workloads.quantize.signature import signature_of, task_of
from workloads.quantize.source import ONNX_FILE

REPORT_HTML = "report.html"


def run(context: Context) -> str:
    """Write the report, publish the selected model and tidy up. Returns a sentence for people."""
    report = figures.gather(context)
    context.work.path(figures.REPORT_JSON).write_text(
        json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n"
    )
    context.work.path(REPORT_HTML).write_text(_page(context, report), encoding="utf-8")
    selected = result.selected_of(context)
    record: dict[str, Any] = {"outcome": selected.outcome, "report": _report(context, context.job.work_uri)}
    words = "nothing passes: nothing is published"
    if selected.published is not None:
        uri = context.job.spec.output.uri
        digest = _already(context, selected.published) or _publish(context, selected.published)
        record |= {"artifact": {"uri": uri, "digest": digest}, "report": _report(context, uri)}
        words = f"published {selected.published} at {uri} {digest}"
    context.work.write("published", record)
    _tidy(context, selected.published)
    return words


def _page(context: Context, report: dict[str, Any]) -> str:
    """Report as HTML. Without matplotlib, or where it fails, words in its place: no model is lost for its report."""
    try:
        return page(report)
    except Exception as error:  # matplotlib may be missing, or find no folder for its cache
        context.reporter.say(f"warning: the report has no charts: {type(error).__name__}: {error}")
        return page(report, charts=False)


def _tidy(context: Context, published: str | None) -> None:
    """Delete the models that lost: there may be dozens. Their figures are kept."""
    for path in [
        path for suffix in ("onnx", *SUFFIXES.values()) for path in context.work.folder.glob(f"candidates/*.{suffix}")
    ]:
        if path.stem != published:
            for file in (*external_data.data_of(path), path):
                file.unlink()
    for folder in ("qat", "compress"):
        shutil.rmtree(context.work.folder / folder, ignore_errors=True)


def _report(context: Context, uri: str) -> dict[str, str]:
    """URI and digest of the report, which lies in the artifact, or in the work folder when there is none."""
    folder = uri if uri == context.job.spec.output.uri else f"{uri}/{context.job.folder}"
    return {"uri": f"{folder}/{REPORT_HTML}", "digest": storage.sha256_of(context.work.path(figures.REPORT_JSON))}


def _publish(context: Context, name: str) -> str:
    """Publish a candidate. Returns the artifact's digest."""
    with storage.publishing(context.job.spec.output.uri, context.job.writer) as folder:
        file = folder / _file_name(context, name)
        external_data.copy(model_path(context, name), file) if file.suffix == ".onnx" else shutil.copyfile(
            model_path(context, name), file
        )
        # What was judged is what is published, byte for byte.
        judged = details_of(context, name)
        data = {each: storage.sha256_of(folder / each) for each in judged.get("data", {})}
        if storage.sha256_of(file) != judged["digest"] or data != judged.get("data", {}):
            raise Corrupt(f"{model_path(context, name)}: not the file that was judged")
        weights = context.work.folder / "compress" / name / WEIGHTS_FILE
        if weights.is_file():
            shutil.copyfile(weights, folder / WEIGHTS_FILE)  # a smaller model in float can be trained on
        for report in (figures.REPORT_JSON, REPORT_HTML):
            shutil.copyfile(context.work.path(report), folder / report)
        described = _describe(context, name)
        if described.text is not None and described.text.tokenizer == TOKENIZER_FILE:
            stored = artifact.read(*_described_by(context, name))
            shutil.copyfile(stored.folder / TOKENIZER_FILE, folder / TOKENIZER_FILE)
        description = described.model_copy(update={"files": storage.digests_of(folder)})
        path = folder / DESCRIPTION_FILE
        path.write_text(json.dumps(description.wire(), indent=2, sort_keys=True) + "\n")
        return storage.sha256_of(path)


def _file_name(context: Context, name: str) -> str:
    return f"{Path(ONNX_FILE).stem}{model_path(context, name).suffix}"


def _already(context: Context, name: str) -> str | None:
    """Digest of the artifact when an attempt that was killed afterwards has published this very model."""
    try:
        stored = artifact.read(context.job.spec.output.uri)
    except (BadInput, Corrupt):
        return None
    details = details_of(context, name)
    wanted = {_file_name(context, name): details["digest"], **details.get("data", {})}
    found = {file.path: file.digest for file in stored.description.files}
    same_job = stored.description.lineage.job == context.job.reference
    return stored.digest if same_job and wanted.items() <= found.items() else None


def _describe(context: Context, name: str) -> Artifact:
    path = model_path(context, name)
    # A LiteRT model or a circuit takes and gives what the float one does, but for the batch.
    model = onnx_file.load(path, own=True) if path.suffix == ".onnx" else context.float_model
    candidate = candidate_of(context, name)
    metrics = {"accuracy": candidate.accuracy, "drop": candidate.drop, "agreement": candidate.agreement}
    known: dict[str, Any] = {
        "signature": signature_of(model),
        "metrics": {key: value for key, value in metrics.items() if value is not None},
        "lineage": _lineage(context, name),
        "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "files": [],
    }
    if context.source.is_artifact:
        return artifact.read(*_described_by(context, name)).description.model_copy(update=known)
    parameters = sum(int(np.prod(tensor.dims)) for tensor in context.float_model.graph.initializer)
    return Artifact(
        task=task_of(model, context.job.spec.evaluation.metric, context.judged.task),
        architecture=Architecture(name="onnx", arguments={}),
        parameters=parameters,
        **known,
    )


def _described_by(context: Context, name: str) -> tuple[str, str]:
    """URI and digest of the artifact whose architecture a candidate has: the float model is never the smaller one."""
    return (context.source.uri, context.source.digest) if name == FLOAT else context.trainable


def _lineage(context: Context, name: str) -> Lineage:
    spec, details = context.job.spec, details_of(context, name)
    evaluated = DatasetReference(
        name=context.evaluation.name[:253],
        digest=context.evaluation.digest.split("/")[0],
        training_samples=0 if spec.calibration is None else spec.calibration.samples,
        held_out_samples=len(context.evaluation),
    )
    recipe = {"candidate": name, "floatNodes": details.get("floatNodes", []), "target": context.target.wire()}
    recipe["judgedOn"] = context.work.require(SOURCE).get("cpu", [])
    compressed = context.work.read(COMPRESSED)
    if name != FLOAT and compressed is not None and context.smaller is not None:
        recipe["compression"] = [row["step"] for row in compressed["rows"] if row["kept"]]
    if name != FLOAT:
        recipe |= {"gates": spec.gates.wire(), "bits": spec.weights.bits}
        recipe |= {"pairs": details["pairs"]} if "pairs" in details else {}
    return Lineage(
        job=context.job.reference,
        dataset=None if spec.evaluation.metric is EvaluationMetric.AGREEMENT else evaluated,
        sources=[LineageSource(uri=context.source.uri, digest=context.source.digest)],
        recipe=recipe,
        framework={"python": platform.python_version(), "numpy": np.__version__, "onnxruntime": session.version()},
    )
