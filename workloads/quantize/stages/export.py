"""Stage export.

Pin the source, turn it into ONNX, prove that it is the same function, and simplify it for quantization.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.api.common.artifact import WEIGHTS_FILE
from slipway.api.quantization.ladder import Runtime
from workloads.artifact import StoredArtifact
from workloads.errors import BadInput
from workloads.export import from_torch
from workloads.models.from_artifact import load_model
from workloads.onnx import external_data, litert, model_files, saturation, session
from workloads.onnx import file as onnx_file
from workloads.onnx.model_files import OnnxFile
from workloads.quantize.batches import apart, budget
from workloads.quantize.context import FLOAT_MODEL, PREPARED_MODEL, SOURCE, Context
from workloads.quantize.graph import first_load
from workloads.quantize.graph.prepare import prepared, require_float
from workloads.quantize.graph.tidy import tidy
from workloads.quantize.ladder import hls
from workloads.quantize.signature import signature_of
from workloads.quantize.source import ONNX_FILE, Source, open_source
from workloads.quantize.stages import sameness

if TYPE_CHECKING:
    import onnx

FOREIGN = frozenset({"bfloat16"})


def run(context: Context) -> str:
    """Export, prepare and check the model, and keep its source. Returns a sentence for people."""
    uri, expected = context.job.model_uri, context.job.spec.model.digest
    stored = open_source(uri, expected)
    if isinstance(stored, OnnxFile):
        model, source, how = *_bare(uri, stored), "ONNX taken as it is"
    else:
        model, source, how = _from_artifact(context, uri, stored)
    if context.job.spec.target.runtime is Runtime.LITERT:
        litert.require(trainable=source.trainable)
    require_float(model, uri)
    _require_types(model, uri)
    signature_of(model)  # what cannot be published is told before hours of work, not after
    tidy(model)
    onnx_file.save(model, context.work.path(FLOAT_MODEL))
    if external_data.held(model):
        model = context.float_model  # its constants are in the work folder from here on
    # Set before it is a record: the comparison reads samples through it.
    context.source = source
    sameness.require_steady(context, model)
    found = prepared(model, sameness.on_samples(context, model))
    onnx_file.save(found.model, context.work.path(PREPARED_MODEL))
    if context.job.spec.target.runtime is Runtime.HLS:
        hls.require(context)
    for remark in found.remarks:
        context.reporter.say(remark)
    axes = apart.axes_of(model, sameness.first_samples(context))
    together = _together(context, model, axes)
    nodes = len(context.prepared.graph.node)
    known = {"nodes": nodes, "export": how, "remarks": found.remarks, "floatNodes": found.floats}
    known |= {"outputAxes": axes, "together": together}
    known |= {"hardware": saturation.hardware(), "cpu": sorted(saturation.features())}
    # Last: this record says that the stage is done.
    context.work.write(SOURCE, {**source.record(), **known})
    return "; ".join([how, *found.remarks, f"{nodes} nodes"])


def _together(context: Context, model: "onnx.ModelProto", axes: dict[str, int | None]) -> int | None:
    """Samples in a call of evaluation, by memory; None where only one, or a number burnt into the graph, goes."""
    if context.evaluation.whole:
        context.reporter.say(f"{len(context.evaluation)} evaluation samples, each a call of its own")
        return None
    if context.source.fixed_batch is not None or (axes and None in axes.values()):
        return None
    choice = context.job.spec.evaluation
    chosen = range(min(len(context.evaluation), choice.samples or len(context.evaluation)))
    try:
        found = budget.measured(model, context.evaluation, chosen, choice.batch_size, budget.BUDGET)
    except BadInput:  # it takes some numbers of samples only: those that were asked for, perhaps
        return None
    if found < min(choice.batch_size, len(chosen)):
        context.reporter.say(f"evaluation takes {found} samples a call: more would take over {budget.BUDGET >> 20} MiB")
    return found


def _bare(uri: str, bare: OnnxFile) -> "tuple[onnx.ModelProto, Source]":
    model = _loaded(bare.path)
    ports = onnx_file.inputs_of(model)
    if not ports:
        raise BadInput(f"{uri}: the model has no inputs")
    return model, Source(uri, bare.digest, False, False, ports, None)


def _loaded(path: Path, listed: Collection[str] | None = None) -> "onnx.ModelProto":
    """A stranger's model: first where it can do no harm, then here."""
    data = model_files.data_files(path, model_files.parse(path), listed)
    first_load.require(path, sum((path.parent / name).stat().st_size for name in (path.name, *data)))
    model = onnx_file.load(path, listed)
    tidy(model)
    return model


def _require_types(model: "onnx.ModelProto", uri: str) -> None:
    """BadInput for inputs and outputs of a type that no caller of ONNX Runtime can give or take here."""
    for port in (*onnx_file.inputs_of(model), *onnx_file.outputs_of(model)):
        if port.dtype in FOREIGN or port.dtype.startswith(("float8", "float4", "int4", "uint4", "int2", "uint2")):
            raise BadInput(
                f"{uri}: {port.name} is {port.dtype}, which numpy does not have and ONNX Runtime neither takes nor "
                "gives on a CPU: export the model with float32 or float16 inputs and outputs"
            )


def _from_artifact(context: Context, uri: str, stored: StoredArtifact) -> "tuple[onnx.ModelProto, Source, str]":
    description = stored.description
    names = {file.path for file in description.files}
    source: dict[str, Any] = {"uri": uri, "digest": stored.digest, "is_artifact": True, "task": description.task}
    source["text"] = description.text
    if ONNX_FILE in names:
        model = _loaded(stored.folder / ONNX_FILE, names)
        ports = onnx_file.inputs_of(model)
        trainable = WEIGHTS_FILE in names
        found = Source(trainable=trainable, ports=ports, preprocessing=description.preprocessing, **source)
        return model, found, "the artifact's own ONNX"
    module, _ = load_model(stored.folder, stored.digest)
    context.reporter.say(f"exporting {description.architecture.name} to ONNX")
    model = from_torch.export(module, description.signature)
    ports = onnx_file.inputs_of(model)
    found = Source(trainable=True, ports=ports, preprocessing=description.preprocessing, **source)
    # Set before it is a record: the comparison reads the evaluation samples through it.
    context.source = found
    same = from_torch.compare_on(module, session.session(model), context.evaluation)
    words = f"exported to ONNX, equal to torch within {same.difference:.1e} on {same.samples} samples"
    return model, found, words
