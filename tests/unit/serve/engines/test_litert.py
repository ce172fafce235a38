"""LiteRT files as its converter writes them: with a signature, one row or any number, floats or int8 at the edges."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from slipway.api.common import artifact as api
from slipway.api.serving.engine import EngineName
from tests.conformance.server import Server
from workloads import storage
from workloads.serve.engines import choose, litert
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.model import Model, load

SCALE, ZERO = 0.05, 3
OUT_SCALE, OUT_ZERO = 0.02, -7


def halves(*, batch: int, integers: bool) -> bytes:
    """y = x + x of [batch, 4], where -1 is any batch."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")

    def tensor(name: str, scale: float, zero: int):
        made = schema.TensorT()
        made.name, made.shape, made.buffer = name, [max(batch, 1), 4], 0
        made.shapeSignature = [batch, 4] if batch < 0 else None
        made.type = schema.TensorType.INT8 if integers else schema.TensorType.FLOAT32
        if integers:
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = [scale], [zero]
        return made

    add = schema.OperatorT()
    add.opcodeIndex, add.inputs, add.outputs = 0, [0, 0], [1]
    add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    code.version = 2 if integers else 1
    graph = schema.SubGraphT()
    graph.tensors = [tensor("args_0", SCALE, ZERO), tensor("output_0", OUT_SCALE, OUT_ZERO)]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [add]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    signature.inputs[0].name, signature.inputs[0].tensorIndex = "args_0", 0
    signature.outputs[0].name, signature.outputs[0].tensorIndex = "output_0", 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def published(folder: Path, content: bytes, width: int = 4) -> Path:
    """As a QuantizationJob publishes it."""
    target = folder / "artifact"
    target.mkdir()
    (target / "model.tflite").write_bytes(content)
    spec = {"dtype": api.DType.FLOAT32, "shape": ["batch", width]}
    description = api.Artifact(
        task=api.Task.RAW,
        architecture=api.Architecture(name="mlp", arguments={}),
        signature=api.Signature(inputs=[api.TensorSpec(name="x", **spec)], outputs=[api.TensorSpec(name="y", **spec)]),
        labels=[],
        parameters=0,
        lineage=api.Lineage(job=api.JobReference(kind="QuantizationJob", name="test")),
        created="2026-01-01T00:00:00Z",
        files=storage.digests_of(target),
    )
    (target / api.DESCRIPTION_FILE).write_text(json.dumps(description.wire()))
    return target


def opened(folder: Path, content: bytes) -> tuple[Model, litert.LiteRt]:
    model = load(str(published(folder, content)), "m", "1")
    return model, litert.open_engine(model, Options(threads=1))


@pytest.mark.parametrize("batch", [1, -1])
@pytest.mark.parametrize("rows", [1, 3, 2])
def test_batches_of_any_length_whatever_the_file_has_fixed(tmp_path: Path, batch: int, rows: int) -> None:
    model, engine = opened(tmp_path, halves(batch=batch, integers=False))
    x = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4)
    (y,) = engine.run([x])
    np.testing.assert_array_equal(y, x + x)
    assert engine.details["batches"] == ("whole" if batch < 0 else "row by row")
    assert model.platform == "litert_tflite"


def test_int8_at_the_edges_is_floats_for_clients(tmp_path: Path) -> None:
    _, engine = opened(tmp_path, halves(batch=1, integers=True))
    x = np.array([[0.5, -1.0, 0.0, 100.0], [0.25, 0.1, -0.1, -100.0]], dtype=np.float32)
    (y,) = engine.run([x])
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[:, :3], 2 * x[:, :3], atol=SCALE + OUT_SCALE)
    lowest, highest = (-128 - OUT_ZERO) * OUT_SCALE, (127 - OUT_ZERO) * OUT_SCALE
    np.testing.assert_allclose(y[:, 3], [highest, lowest], atol=1e-5)


def test_a_signature_that_the_file_does_not_have_is_refused_in_words(tmp_path: Path) -> None:
    model = load(str(published(tmp_path, halves(batch=1, integers=False), width=5)), "m", "1")
    with pytest.raises(Unavailable, match=r"an input of shape \[None, 4\]"):
        litert.open_engine(model, Options())


def test_without_the_package_its_name_is_told_with_what_to_do(tmp_path: Path, monkeypatch) -> None:
    model = load(str(published(tmp_path, halves(batch=1, integers=False))), "m", "1")
    monkeypatch.setattr(litert, "PACKAGE", "no_such_package")
    with pytest.raises(choose.NoEngine, match=r"ai-edge-litert.*predictor\.image") as error:
        choose.choose(model, choose.order(EngineName.AUTO, ()), Options(), lambda _: None)
    assert [attempt.name for attempt in error.value.attempts] == list(choose.AUTO)


def test_bytes_that_are_no_model_are_refused_in_words(tmp_path: Path) -> None:
    model = load(str(published(tmp_path, b"\0\0\0\0TFL3" + b"\0" * 64)), "m", "1")
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(Unavailable, match="cannot load"):
        litert.open_engine(model, Options())


def test_it_is_served(tmp_path: Path) -> None:
    target = published(tmp_path, halves(batch=1, integers=True))
    server = Server(tmp_path / "log", "--model", str(target), "--name", "m").wait()
    try:
        data = [0.5, -1.0, 0.0, 0.25]
        answer = server.infer({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": data}]})
        assert answer.status == 200, answer.body
        np.testing.assert_allclose(answer.json["outputs"][0]["data"], 2 * np.array(data), atol=SCALE + OUT_SCALE)
        assert server.ask("GET", "/v2/models/m").json["properties"]["engine"] == "litert"
    finally:
        server.stop()
