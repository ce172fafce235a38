"""Model to be served, with a check that it is whole: an artifact with every digest checked, or a bare .onnx file."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from slipway.api.common.artifact import DESCRIPTION_FILE, TOKENIZER_FILE, WEIGHTS_FILE, Artifact
from slipway.api.serving.description import ModelDescription
from workloads import artifact, storage
from workloads.errors import BadInput, Corrupt
from workloads.onnx import model_files
from workloads.onnx.description import described, signature_of
from workloads.onnx.foreign_formats import only_onnx, require_known
from workloads.serve.datatypes import Datatype
from workloads.serve.rows import Verdict, Word, verdict_of
from workloads.serve.signature import Signature, Tensor, from_artifact, specs_of

if TYPE_CHECKING:
    import onnx

ONNX_FILE = "model.onnx"
LITERT_FILE = "model.tflite"

UNKNOWN = Verdict(Word.UNKNOWN)

# ONNX Runtime's names.
FROM_ONNX = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(bfloat16)": Datatype.BF16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}


@dataclass(frozen=True)
class Model:
    """A model on this machine's disk; `onnx`, `weights` and `litert` are those of its files that there are.

    `digest` fixes its bytes; `artifact` is None for a bare ONNX file.

    `rows`: whether its graph lets the rows of a batch change each other. `steps8`: some of its values have 8 bits.
    """

    name: str
    version: str
    signature: Signature
    digest: str
    folder: Path
    onnx: Path | None
    weights: Path | None
    artifact: Artifact | None
    rows: Verdict = UNKNOWN
    steps8: bool = False
    litert: Path | None = None

    @property
    def platform(self) -> str:
        """The protocol's word for the format."""
        if self.onnx is not None:
            return "onnx_onnxv1"
        return "pytorch_safetensors" if self.weights is not None else "litert_tflite"


def load(
    where: str, name: str, version: str, expected: str | None = None, wanted: ModelDescription | None = None
) -> Model:
    """The model at a path or URI. `expected` is the digest it must have, `wanted` goes before what it says itself.

    BadInput: nothing there, or nothing that can be served. Corrupt: a file is not what its digest says.
    """
    folder = model_files.fetch(where)
    if folder.is_dir() and (folder / DESCRIPTION_FILE).is_file():
        return _worded(_artifact(where, folder, name, version, expected), wanted)
    path = folder / ONNX_FILE if (folder / ONNX_FILE).is_file() else only_onnx(folder)
    if path.suffix != ".onnx" or not path.is_file():
        require_known(where, path)
        raise BadInput(f"{where}: neither a model artifact (no {DESCRIPTION_FILE}) nor an .onnx file")
    texts = wanted is not None and wanted.wants_texts
    if texts and storage.local_path(where) is None and path == folder:
        storage.fetch_beside(where, [TOKENIZER_FILE], path.parent)
    bare, graph = _bare(path, None if texts else expected)
    digest = _with_tokenizer(path, bare, expected) if texts else bare.digest
    _require_axes(path, graph)
    signature = onnx_signature(path)
    model = Model(name or path.stem, version, signature, digest, path.parent, path, None, None, *_read(graph))
    return _worded(model, wanted)


def _with_tokenizer(path: Path, bare: model_files.OnnxFile, expected: str | None) -> str:
    """A digest covers every file that is loaded."""
    if not (path.parent / TOKENIZER_FILE).is_file():
        raise BadInput(f"{path}: texts need {TOKENIZER_FILE} beside the model, and there is none")
    digest = model_files.digest_of(path, sorted([*bare.data, TOKENIZER_FILE]))
    if expected is not None and digest != expected:
        raise Corrupt(f"{path}: the digest of the model with {TOKENIZER_FILE} is {digest}, expected {expected}")
    return digest


def _worded(model: Model, wanted: ModelDescription | None) -> Model:
    """Apply what its user says of a model."""
    if wanted is None or wanted == ModelDescription():
        return model
    signature = signature_of(specs_of(model.signature.inputs), specs_of(model.signature.outputs))
    return replace(model, artifact=described(model.artifact, wanted, signature, model.folder, model.name))


def _bare(path: Path, expected: str | None) -> "tuple[model_files.OnnxFile, onnx.ModelProto]":
    try:
        return model_files.open_bare(path, expected)
    except model_files.NotOnnx:
        # Bytes that are no ONNX at all may be half of a copy: their digest is asked first, the runtime says the rest.
        digest = storage.sha256_of(path)
        if expected is not None and digest != expected:
            raise Corrupt(f"{path}: the model's digest is {digest}, expected {expected}") from None
        require_known(str(path), path)
        onnx_signature(path)
        raise


def _require_axes(path: Path, graph: "onnx.ModelProto") -> None:
    """BadInput for an input without a shape, which the runtime tells like one without axes."""
    kept = {initializer.name for initializer in graph.graph.initializer}
    for port in graph.graph.input:
        tensor = port.type.tensor_type if port.type.HasField("tensor_type") else None
        if tensor is not None and port.name not in kept and not tensor.HasField("shape"):
            raise BadInput(
                f"{path}: input {port.name!r} is declared without a shape, and requests are checked by its axes:"
                " declare it in the file's graph.input, with names for axes of any length"
            )


def _read(graph: "onnx.ModelProto") -> tuple[Verdict, bool]:
    """Verdict on the graph's rows, and whether it computes in 8 bits."""
    nodes = (*graph.graph.node, *(node for function in graph.functions for node in function.node))
    steps8 = any("Quantize" in node.op_type or "Integer" in node.op_type or "QLinear" in node.op_type for node in nodes)
    return verdict_of(graph), steps8


def _artifact(where: str, folder: Path, name: str, version: str, expected: str | None) -> Model:
    stored = artifact.read(str(folder), expected)
    described = {file.path for file in stored.description.files}
    onnx = folder / ONNX_FILE if ONNX_FILE in described else None
    weights = folder / WEIGHTS_FILE if WEIGHTS_FILE in described else None
    litert = folder / LITERT_FILE if LITERT_FILE in described else None
    if onnx is None and weights is None and litert is None:
        raise BadInput(f"{where}: the artifact has neither {ONNX_FILE} nor {WEIGHTS_FILE} nor {LITERT_FILE}")
    read = UNKNOWN, False
    if onnx is not None:
        graph = model_files.parse(onnx)
        model_files.data_files(onnx, graph, described)
        read = _read(graph)
    about, signature = stored.description, from_artifact(stored.description.signature)
    return Model(name or folder.name, version, signature, stored.digest, folder, onnx, weights, about, *read, litert)


def onnx_signature(path: Path) -> Signature:
    """Read from the file itself. An axis without a name gets one of its own; the first axes share one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        words = f"{path}: ONNX Runtime cannot read it ({str(error).strip().splitlines()[0]})"
        # Bytes that are no model may be half of a copy; a model that this runtime does not take stays one.
        raise (Corrupt if "INVALID_PROTOBUF" in words else BadInput)(words) from error
    if not session.get_inputs():
        raise BadInput(f"{path}: the model has no inputs, and a request of the protocol has at least one")
    return Signature(tuple(map(_from_onnx, session.get_inputs())), tuple(map(_from_onnx, session.get_outputs())))


def _instead(kind: str) -> str:
    """Advice for an input or output whose type the protocol does not have."""
    if kind.startswith("seq(map("):
        return (
            ": export probabilities as a tensor, with zipmap=False (skl2onnx: options={id(model): {'zipmap': False}})"
        )
    if kind.startswith(("seq(", "map(", "optional(", "sparse_tensor(")):
        return ": it has tensors only; export the model with a tensor in this place"
    return ": convert it to a type that it has, by a Cast in the model"


def _from_onnx(node: "onnxruntime.NodeArg") -> Tensor:  # type: ignore[name-defined]  # noqa: F821
    if node.type not in FROM_ONNX:
        raise BadInput(f"{node.name}: the protocol has no word for {node.type}{_instead(node.type)}")
    axes: list[int | str] = []
    for place, axis in enumerate(node.shape):
        if isinstance(axis, int) and axis > 0:
            axes.append(axis)
        else:
            axes.append(str(axis) if axis else "batch" if place == 0 else f"{node.name}_{place}")
    return Tensor(node.name, FROM_ONNX[node.type], tuple(axes))
