"""Every engine computes what numpy computes, says in words why it cannot, and is proved at warm-up before it serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from slipway.api.serving.engine import EngineName
from tests.unit.serve import onnx_models
from tests.unit.serve.artifacts import small_cnn
from workloads.errors import BadInput, Corrupt
from workloads.serve.datatypes import Datatype
from workloads.serve.engines import choose
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.onnx_runtime import open_engine as open_onnxruntime
from workloads.serve.engines.open_vino import open_engine as open_openvino
from workloads.serve.engines.torch_engine import open_engine as open_torch
from workloads.serve.engines.warmup import NothingRuns, sample, sizes_up_to, warm_up
from workloads.serve.errors import EngineFailed, Refused
from workloads.serve.model import load
from workloads.serve.worker import EngineWorker

SIZES = (8, 16, 3)


@pytest.fixture
def mlp(tmp_path: Path):
    return load(str(onnx_models.mlp(tmp_path / "mlp.onnx", SIZES)), "mlp", "1")


@pytest.mark.parametrize("opener", [open_onnxruntime, open_openvino])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_onnx_engines_compute_what_numpy_computes(opener, rows, mlp) -> None:
    engine = opener(mlp, Options(threads=1))
    x = np.random.default_rng(rows).standard_normal((rows, 8), dtype=np.float32)
    first = engine.run([x])[0]
    engine.run([x * 2])  # results of an earlier batch must not change under somebody's hands
    np.testing.assert_allclose(first, onnx_models.mlp_reference(x, SIZES), rtol=1e-4, atol=1e-5)
    assert first.dtype == np.float32
    assert engine.details["version"]
    engine.close()


def test_torch_serves_the_trainers_artifact_from_read_only_bytes(tmp_path: Path) -> None:
    folder, digest = small_cnn(tmp_path / "cnn")
    model = load(str(folder), "cnn", "1", digest)
    assert (model.onnx, model.platform) == (None, "pytorch_safetensors")
    engine = open_torch(model, Options(threads=1))
    x = np.frombuffer(np.ones((2, 1, 8, 8), np.float32).tobytes(), np.float32).reshape(2, 1, 8, 8)
    (logits,) = engine.run([x])
    assert logits.shape == (2, 10)
    np.testing.assert_array_equal(logits[0], logits[1])


def test_strings_and_half_floats_pass_through_onnxruntime(tmp_path: Path) -> None:
    text = load(str(onnx_models.identity(tmp_path / "text.onnx", T.STRING)), "", "1")
    engine = open_onnxruntime(text, Options())
    words = np.array([[b"\xc3\xa9t\xc3\xa9", b"a"]], dtype=object)
    assert engine.run([words])[0].tolist() == words.tolist()
    half = load(str(onnx_models.identity(tmp_path / "half.onnx", T.FLOAT16)), "", "1")
    assert half.signature.inputs[0].datatype is Datatype.FP16
    assert open_onnxruntime(half, Options()).run([np.ones((1, 2), np.float16)])[0].dtype == np.float16


def test_a_bare_onnx_file_says_its_own_signature(mlp) -> None:
    signature = mlp.signature
    assert [(t.name, t.datatype, t.shape) for t in signature.inputs] == [("x", Datatype.FP32, [-1, 8])]
    assert signature.batched
    assert mlp.digest.startswith("sha256:")


def test_what_is_not_a_model_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is nothing"):
        load(str(tmp_path / "nowhere"), "", "1")
    with pytest.raises(BadInput, match="neither a model artifact"):
        load(str(tmp_path), "", "1")
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(Corrupt, match="cannot read"):
        load(str(tmp_path / "bad.onnx"), "", "1")
    with pytest.raises(Corrupt, match="expected sha256:00"):
        load(str(tmp_path / "bad.onnx"), "", "1", "sha256:" + "0" * 64)


def test_a_changed_weight_is_noticed(tmp_path: Path) -> None:
    folder, digest = small_cnn(tmp_path / "cnn")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(Corrupt, match="sha256"):
        load(str(folder), "", "1", digest)


def test_auto_falls_back_to_what_can_load_the_model_and_says_why(tmp_path: Path) -> None:
    folder, _ = small_cnn(tmp_path / "cnn")
    model = load(str(folder), "", "1")
    engine, attempts = choose.choose(model, choose.order(EngineName.AUTO, []), Options(), lambda engine: None)
    assert engine.name == "torch"
    assert [attempt.name for attempt in attempts] == ["tensorrt", "onnxruntime", "openvino"]
    assert all(attempt.reason for attempt in attempts)


def test_when_no_engine_is_left_every_reason_is_told(mlp) -> None:
    def picky(engine) -> None:
        raise Unavailable("too slow")

    with pytest.raises(choose.NoEngine, match=r"onnxruntime: too slow; torch: torch needs model.safetensors"):
        choose.choose(mlp, [EngineName.ONNXRUNTIME, EngineName.TORCH], Options(), picky)


def test_the_order_names_nothing_twice() -> None:
    assert choose.order(EngineName.TORCH, [EngineName.AUTO, EngineName.TORCH]) == [
        EngineName.TORCH,
        EngineName.TENSORRT,
        EngineName.ONNXRUNTIME,
        EngineName.OPENVINO,
        EngineName.LITERT,
    ]


def test_warm_up_times_every_size_and_sees_that_rows_are_independent(mlp) -> None:
    engine = open_onnxruntime(mlp, Options())
    seen = warm_up(engine, mlp.signature, sizes_up_to(6))
    assert sorted(seen.seconds) == [1, 2, 4, 6]
    assert seen.independent


def test_warm_up_notices_a_model_whose_rows_mix(tmp_path: Path) -> None:
    model = load(str(onnx_models.mixes_rows(tmp_path / "m.onnx")), "", "1")
    assert not warm_up(open_onnxruntime(model, Options()), model.signature, (1, 4)).independent


def test_nan_at_warm_up_is_a_warning_and_a_reason_to_prefer_another_engine(tmp_path: Path) -> None:
    model = load(str(onnx_models.never_finite(tmp_path / "m.onnx")), "", "1")
    seen = warm_up(open_onnxruntime(model, Options()), model.signature, (1,))
    assert any("NaN" in words for words in seen.warnings)
    assert seen.flaws


def test_an_output_that_contradicts_its_declaration_is_a_warning(mlp) -> None:
    class Wrong:
        name = "wrong"
        details: dict[str, str] = {}  # noqa: RUF012

        def run(self, inputs):
            return [np.zeros((inputs[0].shape[0], 4), np.float32)]

        def close(self) -> None: ...

    seen = warm_up(Wrong(), mlp.signature, (1, 2))
    assert seen.warnings == ("output 'y' is declared [batch, 3] and had [2, 4] for 2 row(s)",)
    assert seen.signature is not None
    assert [tensor.shape for tensor in seen.signature.outputs] == [[-1, -1]]


def test_an_engine_without_an_output_runs_nothing(mlp) -> None:
    class Silent:
        name = "silent"
        details: dict[str, str] = {}  # noqa: RUF012

        def run(self, inputs):
            return []

        def close(self) -> None: ...

    with pytest.raises(NothingRuns, match="gave 0 outputs, the model has 1"):
        warm_up(Silent(), mlp.signature, (1, 2))


def test_sizes() -> None:
    assert [sizes_up_to(n) for n in (1, 2, 3, 32)] == [(1,), (1, 2), (1, 2, 3), (1, 2, 4, 8, 16, 32)]


async def test_a_lane_gives_everyone_their_own_rows(mlp) -> None:
    lane = EngineWorker(open_onnxruntime(mlp, Options()), mlp.signature, sample(mlp.signature, 1))
    random = np.random.default_rng(1)
    asked = [(random.standard_normal((rows, 8), dtype=np.float32),) for rows in (1, 3, 2)]
    for (x,), (y,) in zip(asked, await lane.run(asked), strict=True):
        np.testing.assert_allclose(y, onnx_models.mlp_reference(x, SIZES), rtol=1e-4, atol=1e-5)
    await asyncio.to_thread(lane.close)


async def test_a_lane_tells_a_bad_request_from_a_dead_engine(tmp_path: Path) -> None:
    model = load(str(onnx_models.lookup(tmp_path / "lookup.onnx")), "", "1")
    engine = open_onnxruntime(model, Options())
    lane = EngineWorker(engine, model.signature, sample(model.signature, 1))
    bad, good = (np.array([[99]]),), (np.array([[3]]),)
    with pytest.raises(Refused, match="cannot compute this input"):
        await lane.run([bad])
    with pytest.raises(Exception, match="idx=99"):
        await lane.run([good, bad])
    session, engine._session = engine._session, None
    with pytest.raises(EngineFailed):
        await lane.run([good])
    assert lane.broken
    engine._session = session
    assert (await lane.run([good]))[0][0].tolist() == [[3.0]]
    assert not lane.broken
    await asyncio.to_thread(lane.close)
