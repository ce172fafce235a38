"""Build of an engine against stand-ins for TensorRT 10, 11 and RTX: flags, profiles, capabilities, and what fails."""

from __future__ import annotations

import logging
import stat
from pathlib import Path

import pytest

from tests.unit.serve import onnx_models
from tests.unit.serve.engines.test_sparse_weights import SPARSE, written
from tests.unit.serve.tensorrt.conftest import Install
from workloads.serve.engines.engine import Options, Unavailable
from workloads.serve.engines.tensorrt import cache, engine
from workloads.serve.engines.tensorrt.build import PORTABLE, WORKSPACE, architecture_for
from workloads.serve.engines.tensorrt.key import Range, profile_for
from workloads.serve.engines.tensorrt.library import KEPT_LINES, library, logger
from workloads.serve.model import Model, load

# Library, version, creation flags of its networks.
VERSIONS = [
    ("tensorrt", "10.0.1", 0b10),
    ("tensorrt", "10.16.1.11", 0b10),
    ("tensorrt", "11.4.0.106", 0b1),
    ("tensorrt_rtx", "1.7.1.116", 0b1),
    ("tensorrt", "12.0", 0),
]


@pytest.mark.parametrize(("name", "version", "network"), VERSIONS)
def test_each_version_is_built_with_by_what_it_has(
    mlp: Model, install: Install, name: str, version: str, network: int
) -> None:
    """The flag of strongly typed networks is another bit in each, or gone; only RTX is told what GPU to build for."""
    fake = install(name, version)
    _, key = engine.plan_for(mlp, Options(sizes=(1, 16)), "sm89")
    (plan,) = fake.plans
    assert key.library == f"{name}-{version}"
    assert key.architecture == "sm89"
    assert len(key.digest) == 32
    assert plan.network == network
    assert plan.capability == ("SM89" if name == "tensorrt_rtx" else None)
    assert plan.workspace == WORKSPACE == 1 << 30
    assert plan.ranges == {"x": ((1, 8), (16, 8), (16, 8))}
    assert plan.flags == []


def test_rtx_is_not_told_of_a_gpu_that_it_cannot_name(mlp: Model, install: Install) -> None:
    fake = install("tensorrt_rtx", "1.7.1.116")
    _, key = engine.plan_for(mlp, Options(), "sm90")
    assert (key.architecture, fake.plans[0].capability) == (PORTABLE, None)


def test_tensorrt_itself_builds_for_no_gpu_but_the_one_that_is_there(install: Install) -> None:
    fake = install()
    with pytest.raises(Unavailable, match="builds engines only on the GPU that will run them, and there is none here"):
        architecture_for(fake.module, PORTABLE)
    assert architecture_for(fake.module, "sm90") == "sm90"


def test_sparse_weights_are_told_to_the_builder_and_are_part_of_the_key(tmp_path: Path, install: Install) -> None:
    fake = install()
    model = load(str(written(tmp_path / "sparse.onnx", SPARSE, "Gemm", transB=1)), "", "1")
    _, key = engine.plan_for(model, Options(sizes=(1, 4)), "sm89")
    assert fake.plans[0].flags == ["SPARSE_WEIGHTS"]
    assert key.flags == ("SPARSE_WEIGHTS",)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("Builder", "made no builder: it gave no reason"),
        ("build_serialized_network", "cannot build the engine: build_serialized_network: out of luck"),
        ("add_optimization_profile", "refuses the shapes of the inputs"),
        ("set_compute_capability", "builds no engine for sm89"),
    ],
)
def test_what_cannot_be_built_is_said(mlp: Model, install: Install, call: str, words: str) -> None:
    install("tensorrt_rtx", "1.7.1.116", refuses={call})
    with pytest.raises(Unavailable, match=words):
        engine.plan_for(mlp, Options(), "sm89")


def test_shapes_that_contradict_each_other_are_said_with_the_input(mlp: Model, install: Install, monkeypatch) -> None:
    install()
    odd = Range("x", (5, 8), (4, 8), (4, 8))
    monkeypatch.setattr(engine, "profile_for", lambda *given: (odd,))
    with pytest.raises(Unavailable, match="refuses the shapes of input 'x': min, opt and max are inconsistent"):
        engine.plan_for(mlp, Options(), "sm89")


def test_the_first_three_errors_of_the_parser_are_said(mlp: Model, install: Install) -> None:
    install()
    assert mlp.onnx is not None
    mlp.onnx.write_bytes(b"not onnx")
    with pytest.raises(Unavailable, match=r"cannot read the model: 0: \w+; 1: \w+; 2: \w+$"):
        engine.build(library(), mlp.onnx, engine.EngineKey("", PORTABLE, "", profile_for(mlp.signature, 1)))


@pytest.mark.parametrize("longest", [1, 100, 512, 4096])
def test_a_free_axis_spans_one_to_the_longest_and_is_best_at_128(tmp_path: Path, longest: int) -> None:
    from onnx import TensorProto as T

    signature = load(str(onnx_models.identity(tmp_path / "m.onnx", T.INT64)), "", "1").signature
    (shapes,) = profile_for(signature, 8, longest)
    assert (shapes.name, shapes.least, shapes.best, shapes.most) == ("x", (1, 1), (8, min(128, longest)), (8, longest))


def test_without_anything_said_a_free_axis_ends_at_512(tmp_path: Path) -> None:
    from onnx import TensorProto as T

    signature = load(str(onnx_models.identity(tmp_path / "m.onnx", T.INT64)), "", "1").signature
    assert profile_for(signature, 2)[0].most == (2, 512)
    assert profile_for(signature, 2)[0].best == (2, 128)
    assert Options().longest == 512


def test_the_engine_of_the_largest_size_is_what_is_built(mlp: Model, install: Install) -> None:
    fake = install()
    engine.plan_for(mlp, Options(sizes=(1, 2, 64)), "sm89")
    assert fake.plans[0].ranges["x"][2] == (64, 8)


def test_the_log_keeps_the_last_errors_and_passes_each_on(install: Install, caplog: pytest.LogCaptureFixture) -> None:
    fake = install()
    log = logger(fake.module)
    severity = fake.module.ILogger.Severity
    with caplog.at_level(logging.DEBUG, "slipway.serve.tensorrt"):
        for place in range(KEPT_LINES + 5):
            log.log(severity.ERROR if place % 2 else severity.INTERNAL_ERROR, f"error {place}")
        log.log(severity.WARNING, "a warning")
        log.log(severity.INFO, "chatter")
    assert len(log.lines) == 20
    assert log.lines == [f"error {place}" for place in range(5, KEPT_LINES + 5)]
    levels = {record.getMessage(): record.levelname for record in caplog.records}
    assert (levels["error 3"], levels["a warning"], levels["chatter"]) == ("WARNING", "DEBUG", "DEBUG")


def test_tensorrt_is_taken_before_rtx_and_its_absence_is_said(install: Install, monkeypatch) -> None:
    assert install("tensorrt_rtx", "1.7.1.116").module is library()
    assert install().module is library()
    install("another")
    with pytest.raises(Unavailable, match=r"no TensorRT is installed \(No module named 'tensorrt'; .*'tensorrt_rtx'\)"):
        library()


def test_an_engine_from_the_cache_is_loaded_and_not_built(mlp: Model, install: Install, tmp_path: Path, caplog) -> None:
    fake = install()
    options = Options(sizes=(1, 4), cache=tmp_path / "cache")
    with caplog.at_level(logging.INFO, "slipway.serve.tensorrt"):
        engine.open_engine(mlp, options).close()
    assert "built engine" in caplog.text
    engine.open_engine(mlp, options).close()
    engine.open_engine(mlp, Options(sizes=(1, 4), cache=tmp_path / "cache", build=False)).close()
    assert len(fake.plans) == 1
    record = cache.record_of(tmp_path / "cache", engine.plan_for(mlp, options, "sm89")[1])
    assert record is not None
    assert 0 <= record["seconds"] < 600
    assert stat.S_IMODE((tmp_path / "cache" / engine.plan_for(mlp, options, "sm89")[1].digest).stat().st_mode) == 0o755


def test_where_a_job_builds_and_nothing_is_there_the_server_says_so(
    mlp: Model, install: Install, tmp_path: Path
) -> None:
    install()
    with pytest.raises(Unavailable, match=r"no engine of this model for sm89 with tensorrt-10.9.0: .*--build-only"):
        engine.open_engine(mlp, Options(cache=tmp_path, build=False))


def test_the_gpus_that_this_models_engines_are_for_are_named(mlp: Model, install: Install, tmp_path: Path) -> None:
    install()
    model, other = mlp, load(str(onnx_models.mlp(tmp_path / "other.onnx", (4, 2))), "", "1")
    for each, architecture in ((model, "sm80"), (other, "sm75")):
        engine.plan_for(each, Options(cache=tmp_path / "cache"), architecture)
    (tmp_path / "cache" / "odd").mkdir()
    (tmp_path / "cache" / "odd" / cache.RECORD).write_text("{}")
    with pytest.raises(
        Unavailable, match=r"for sm89 with tensorrt-10.9.0, only for sm80 with tensorrt-10.9.0: an engine"
    ):
        engine.plan_for(model, Options(cache=tmp_path / "cache", build=False), "sm89")


@pytest.mark.parametrize("what", ["mkdtemp", "rename", "sync"])
def test_a_cache_that_fails_leaves_nothing_and_the_server_goes_on(
    mlp: Model, install: Install, tmp_path: Path, monkeypatch, what: str
) -> None:
    install()

    def fails(*given: object, **more: object) -> None:
        raise OSError("no space left on device")

    place = {"mkdtemp": "tempfile.mkdtemp", "rename": "pathlib.Path.rename", "sync": "workloads.storage.sync_tree"}[
        what
    ]
    monkeypatch.setattr(place, fails)
    folder = tmp_path / "cache"
    plan, key = engine.plan_for(mlp, Options(cache=folder), "sm89")
    assert plan
    assert cache.keep(folder, key, plan, {}) is False
    assert list(folder.iterdir()) == []


def test_without_a_gpu_or_a_graph_nothing_is_built(mlp: Model, install: Install, monkeypatch) -> None:
    from dataclasses import replace

    fake = install()
    bare = replace(mlp, onnx=None)
    for attempt in (lambda: engine.open_engine(bare, Options()), lambda: engine.plan_for(bare, Options(), "sm89")):
        with pytest.raises(Unavailable, match=r"needs model.onnx, and the artifact has none"):
            attempt()
    monkeypatch.setattr(engine.gpu, "present", lambda: None)
    with pytest.raises(Unavailable, match="needs an NVIDIA GPU and its driver"):
        engine.open_engine(mlp, Options())
    assert fake.plans == []
