"""What TensorRT does without a GPU: parse, build, key, cache. tensorrt_rtx builds real engines on any machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from tests.unit.serve import onnx_models
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.tensorrt import cache, engine, gpu
from workloads.serve.engines.tensorrt.build import PORTABLE, architecture_for, build
from workloads.serve.engines.tensorrt.key import EngineKey, profile_for
from workloads.serve.engines.tensorrt.library import identity, library, logger
from workloads.serve.model import load

trt = pytest.importorskip("tensorrt_rtx", reason="needs a TensorRT")
SIZES = (8, 16, 3)
without_gpu = pytest.mark.skipif(gpu.present() is not None, reason="says what happens without a GPU")


@pytest.fixture
def mlp(tmp_path: Path):
    return load(str(onnx_models.mlp(tmp_path / "mlp.onnx", SIZES)), "mlp", "1")


def key_of(model, architecture: str = PORTABLE) -> EngineKey:
    return EngineKey(model.digest, architecture, identity(library()), profile_for(model.signature, 32))


@pytest.mark.parametrize("architecture", [PORTABLE, "sm89"])
def test_a_real_engine_is_built(mlp, architecture: str) -> None:
    # Two builds need not be the same bytes: the library times its kernels.
    assert len(build(library(), mlp.onnx, key_of(mlp, architecture))) > 1000


@without_gpu
def test_without_a_driver_an_engine_is_none_and_no_exception(mlp) -> None:
    log = logger(trt)
    assert trt.Runtime(log).deserialize_cuda_engine(build(trt, mlp.onnx, key_of(mlp))) is None
    assert "driver" in log.lines[-1].lower()


@without_gpu
def test_without_a_gpu_the_next_engine_is_tried(mlp) -> None:
    with pytest.raises(Unavailable, match="NVIDIA GPU"):
        engine.open_engine(mlp, Options())


def test_no_driver_is_no_gpu() -> None:
    assert gpu.present("libno-such-driver.so.1") is None


def test_what_tensorrt_cannot_read_is_said_in_its_words(tmp_path: Path, mlp) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not onnx")
    with pytest.raises(Unavailable, match=r"cannot read the model: .*ONNX"):
        build(trt, tmp_path / "bad.onnx", key_of(mlp))


def test_strings_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    model = load(str(onnx_models.identity(tmp_path / "text.onnx", T.STRING)), "", "1")
    with pytest.raises(Unavailable, match="string"):
        engine.plan_for(model, Options(), "sm89")


def test_the_key_changes_with_everything_it_is_made_of(mlp) -> None:
    key = key_of(mlp)
    others = [
        dataclasses.replace(key, model="sha256:" + "0" * 64),
        dataclasses.replace(key, architecture="sm90"),
        dataclasses.replace(key, library="tensorrt-11.4.0"),
        dataclasses.replace(key, profile=profile_for(mlp.signature, 64)),
        dataclasses.replace(key, flags=("TF32",)),
    ]
    assert len({one.digest for one in (key, *others)}) == 6
    assert key_of(mlp).digest == key.digest


def test_the_profile_spans_one_row_to_the_largest_batch(mlp) -> None:
    (shapes,) = profile_for(mlp.signature, 32)
    assert (shapes.least, shapes.best, shapes.most) == ((1, 8), (32, 8), (32, 8))


def test_an_architecture_that_the_library_cannot_name_is_left_to_the_gpu() -> None:
    assert architecture_for(trt, "sm89") == "sm89"
    assert architecture_for(trt, "sm90") == PORTABLE


def test_an_engine_is_built_once_and_then_found(mlp, tmp_path: Path, monkeypatch) -> None:
    options = Options(sizes=(1, 32), cache=tmp_path / "cache")
    plan, key = engine.plan_for(mlp, options, "sm89")
    record = json.loads((tmp_path / "cache" / key.digest / "engine.json").read_text())
    assert record["bytes"] == len(plan)
    assert record["key"]["architecture"] == "sm89"

    def never(*arguments: object) -> bytes:
        raise AssertionError("it was in the cache")

    monkeypatch.setattr(engine, "build", never)
    assert engine.plan_for(mlp, options, "sm89") == (plan, key)
    with pytest.raises(AssertionError):
        engine.plan_for(mlp, options, "sm86")


@pytest.mark.parametrize("damage", ["plan", "record", "half"])
def test_a_damaged_engine_is_never_loaded(mlp, tmp_path: Path, damage: str) -> None:
    key, folder = key_of(mlp), tmp_path / "cache"
    assert cache.keep(folder, key, b"the plan", {})
    place = folder / key.digest
    if damage == "plan":
        (place / "engine.plan").write_bytes(b"the plam")
    elif damage == "record":
        record = json.loads((place / "engine.json").read_text())
        record["key"]["architecture"] = "sm120"
        (place / "engine.json").write_text(json.dumps(record))
    else:
        (place / "engine.json").unlink()
    assert cache.find(folder, key) is None
    assert cache.keep(folder, key, b"a new plan", {})
    assert cache.find(folder, key) == b"a new plan"
    assert [path.name for path in folder.iterdir()] == [key.digest]


def test_a_cache_that_cannot_be_written_is_gone_without(mlp, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not cache.keep(tmp_path / "file" / "cache", key_of(mlp), b"plan", {})


@pytest.mark.gpu
@pytest.mark.skipif(gpu.present() is None, reason="needs a GPU")
class TestOnAGpu:
    def test_computes_what_numpy_computes_at_every_size(self, mlp, tmp_path: Path) -> None:
        served = engine.open_engine(mlp, Options(sizes=(1, 32), cache=tmp_path / "cache"))
        random = np.random.default_rng(1)
        for rows in (1, 2, 31, 32, 1):
            x = random.standard_normal((rows, 8), dtype=np.float32)
            (y,) = served.run([x])
            np.testing.assert_allclose(y, onnx_models.mlp_reference(x, SIZES), rtol=1e-2, atol=1e-2)  # TF32
        with pytest.raises(ValueError, match="profile"):
            served.run([np.zeros((33, 8), np.float32)])
        served.close()

    def test_results_are_not_overwritten_by_the_next_batch(self, mlp) -> None:
        served = engine.open_engine(mlp, Options(sizes=(1, 4)))
        x = np.ones((4, 8), np.float32)
        (first,) = served.run([x])
        kept = first.copy()
        served.run([x * 3])
        np.testing.assert_array_equal(first, kept)
        served.close()

    def test_half_precision_comes_from_the_model(self, tmp_path: Path) -> None:
        model = load(str(onnx_models.identity(tmp_path / "half.onnx", T.FLOAT16, ("batch", 8))), "", "1")
        served = engine.open_engine(model, Options(sizes=(1, 4)))
        (y,) = served.run([np.full((2, 8), 0.5, np.float16)])
        assert (y.dtype, y.tolist()) == (np.float16, [[0.5] * 8] * 2)
        served.close()

    def test_two_instances_do_not_disturb_each_other(self, mlp) -> None:
        one, two = (engine.open_engine(mlp, Options(sizes=(1, 4))) for _ in range(2))
        x = np.random.default_rng(2).standard_normal((4, 8), dtype=np.float32)
        before = one.run([x])[0]
        two.run([x * 2])
        two.close()
        np.testing.assert_array_equal(one.run([x])[0], before)
        one.close()
