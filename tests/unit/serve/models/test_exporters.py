"""What exporters write today is served as their own runtime computes it: scikit-learn's, and both of PyTorch's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.api.serving.engine import EngineName
from tests.unit.serve.models.over_http import by_runtime, infer, same, serving
from workloads.errors import BadInput
from workloads.serve.loading import load_and_warm_up
from workloads.serve.settings import Settings

RANDOM = np.random.default_rng(5)
NUMBERS = RANDOM.standard_normal((60, 4))
CLASSES = (NUMBERS[:, 0] + NUMBERS[:, 1] > 0).astype(int)


async def agrees(path: Path, feeds: dict[str, np.ndarray], batched: bool) -> None:
    """Three times at once, as its runtime does it alone."""
    expected = by_runtime(path, feeds)
    async with serving(path) as (base, client):
        async with client.get(base) as reply:
            about = await reply.json()
        answers = await asyncio.gather(*(infer(base, client, feeds) for _ in range(3)))
    assert (about["properties"]["batching"] == "on") == batched, about["properties"]
    for status, found, words in answers:
        assert status == 200, words
        assert all(same(found[name], expected[name]) for name in expected)


def estimators() -> dict[str, Any]:
    from sklearn.cluster import KMeans
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
        "forest": RandomForestClassifier(5, random_state=0),
        "boosting": GradientBoostingRegressor(n_estimators=5, random_state=0),
        "neighbours": KNeighborsClassifier(3),
        "clusters": KMeans(3, n_init=1, random_state=0),
        "support vectors": SVC(),
        "bayes": GaussianNB(),
        "network": MLPRegressor(hidden_layer_sizes=(4,), max_iter=20, random_state=0),
    }


@pytest.mark.parametrize("name", list(estimators()))
async def test_scikit_learn(name: str, tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.base import is_classifier

    fitted = estimators()[name].fit(NUMBERS, CLASSES)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 4])
    options = {id(fitted): {"zipmap": False}} if is_classifier(fitted) else None
    model = skl2onnx.to_onnx(fitted, initial_types=[("x", kind)], options=options)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    await agrees(tmp_path / "model.onnx", {"x": NUMBERS[:2].astype(np.float32)}, batched=True)


def test_scikit_learn_with_its_default_zip_map_is_told_the_flag(tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    fitted = estimators()["logistic"].fit(NUMBERS, CLASSES)
    kind = skl2onnx.common.data_types.FloatTensorType([None, 4])
    (tmp_path / "m.onnx").write_bytes(skl2onnx.to_onnx(fitted, initial_types=[("x", kind)]).SerializeToString())
    with pytest.raises(BadInput, match="zipmap=False"):
        load_and_warm_up(Settings(str(tmp_path / "m.onnx"), engine=EngineName.ONNXRUNTIME, threads=1))


async def test_scikit_learn_with_named_columns_of_texts_and_numbers(tmp_path: Path) -> None:
    """No invented text is a category, so the warm-up runs nothing; the model is served all the same."""
    skl2onnx = pytest.importorskip("skl2onnx")
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pandas.DataFrame({"colour": ["red", "green"] * 30, "size": NUMBERS[:, 0]})
    columns = ColumnTransformer([("c", OneHotEncoder(), ["colour"]), ("s", StandardScaler(), ["size"])])
    fitted = make_pipeline(columns, LogisticRegression()).fit(frame, CLASSES)
    types = skl2onnx.common.data_types
    ports = [("colour", types.StringTensorType([None, 1])), ("size", types.FloatTensorType([None, 1]))]
    model = skl2onnx.to_onnx(fitted, initial_types=ports, options={id(fitted): {"zipmap": False}})
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    feeds = {"colour": np.array([[b"red"], [b"green"]], object), "size": NUMBERS[:2, :1].astype(np.float32)}
    expected = by_runtime(tmp_path / "model.onnx", feeds)
    async with serving(tmp_path / "model.onnx") as (base, client):
        status, found, words = await infer(base, client, feeds)
        assert status == 200, words
        assert all(same(found[name], expected[name]) for name in expected)


async def test_pytorch_by_its_old_exporter(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 5))
    path = tmp_path / "model.onnx"
    torch.onnx.export(
        module.eval(),
        (torch.zeros(1, 3, 8, 8),),
        str(path),
        dynamo=False,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}},
    )
    await agrees(path, {"x": RANDOM.standard_normal((2, 3, 8, 8)).astype(np.float32)}, batched=True)


@pytest.mark.slow
async def test_pytorch_by_its_new_exporter_with_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 64), torch.nn.GELU(), torch.nn.LayerNorm(64), torch.nn.Linear(64, 3)
    )
    path = tmp_path / "model.onnx"
    dynamic = ({0: torch.export.Dim("batch", min=1, max=64)},)
    program = torch.onnx.export(module.eval(), (torch.zeros(2, 4),), dynamo=True, dynamic_shapes=dynamic)
    program.save(str(path), external_data=True)
    assert (tmp_path / "model.onnx.data").is_file()
    port = program.model_proto.graph.input[0].name
    await agrees(path, {port: NUMBERS[:2].astype(np.float32)}, batched=True)
