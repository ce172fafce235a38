"""scikit-learn, LightGBM and XGBoost as docs/tabular.md has them: exported, imported, and served as they predict."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.cluster.paths import REPOSITORY
from tests.conformance.server import Server
from workloads.importing.command import main as import_command

PAGE = (REPOSITORY / "docs/tabular.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^python -m workloads import (.*)$", PAGE, re.MULTILINE)
NEEDS = {"sklearn": "skl2onnx", "lightgbm": "lightgbm", "xgboost": "xgboost"}


@contextmanager
def served(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, dict[str, Any]]]:
    """The server of the page's model, and what the page's code has left."""
    for module in (NEEDS[name], "onnxmltools"):
        pytest.importorskip(module)
    monkeypatch.chdir(folder)
    made: dict[str, Any] = {}
    exec(next(code for code in CODE if f"{name}.onnx" in code), made)
    words = shlex.split(next(command for command in COMMANDS if f"{name}.onnx" in command))
    assert import_command(words) == 0
    output = words[words.index("--output") + 1]
    server = Server(folder / "log", "--model", str(folder / output), "--threads", "1", "--engine", "onnxruntime").wait()
    try:
        yield server, made
    finally:
        assert server.stop() == 0


def predict(server: Server, document: Any) -> Any:
    return server.ask("POST", "/predict", orjson.dumps(document), {"Content-Type": "application/json"})


def test_a_pipeline_with_numbers_and_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served("sklearn", tmp_path, monkeypatch) as (server, made):
        frame, model = made["frame"][:20], made["model"]
        rows = [{"age": float(age), "city": city} for age, city in zip(frame["age"], frame["city"], strict=True)]
        answer = predict(server, {"rows": rows})
        assert answer.status == 200, answer.body
        said = answer.json["predictions"]
        assert [one["label"] for one in said] == model.predict(frame).tolist()
        found = [[one["probabilities"]["no"], one["probabilities"]["yes"]] for one in said]
        np.testing.assert_allclose(found, model.predict_proba(frame), atol=1e-5)
        turned = [[row["city"], row["age"]] for row in rows]
        assert predict(server, {"columns": ["city", "age"], "rows": turned}).json["predictions"] == said
        assert predict(server, {"rows": [{"age": 40, "city": "Utopia"}]}).status == 200, "handle_unknown"
        assert server.ask("GET", "/predict").json["columns"] == ["age", "city"]
        large = predict(server, {"rows": [{"age": 40, "city": "x" * 100_000}] * 20})
        assert (large.status, len(large.json["predictions"])) == (200, 20), "read in another process"
        for document, words in WRONG:
            answer = predict(server, document)
            assert (answer.status, words in answer.json["error"]) == (400, True), (document, answer.body)


WRONG: list[tuple[Any, str]] = [
    ({"rows": [{"age": 40}]}, "row 1 has no 'city'"),
    ({"rows": [{"age": 40, "city": "Rome"}, {"age": None, "city": "Rome"}]}, "row 2 has no 'age'"),
    ({"rows": [{"age": 40, "city": "Rome", "zip": 3}]}, "row 1 has 'zip'"),
    ({"rows": [{"age": "40", "city": "Rome"}]}, "'age'"),
    ({"rows": [{"age": True, "city": "Rome"}]}, "'age'"),
    ({"rows": [{"age": 40, "city": 7}]}, "'city'"),
    ({"rows": [[40]]}, "row 1 has 1 values"),
    ({"rows": [3]}, "row 1 is neither"),
    ({"columns": ["age"], "rows": [[40]]}, "columns are 'age', 'city'"),
    ({"columns": ["age", "age"], "rows": [[40, 40]]}, "columns are 'age', 'city'"),
    ({"columns": "age", "rows": [[40]]}, "columns are a list of names"),
    ({"rows": []}, "at least one row"),
    ({"rows": {}}, "at least one row"),
]


def test_a_boosted_classifier_with_named_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served("lightgbm", tmp_path, monkeypatch) as (server, made):
        rows = made["rows"][:20]
        names = ["width", "height", "depth"]
        said = predict(server, {"rows": [dict(zip(names, row, strict=True)) for row in rows.tolist()]}).json[
            "predictions"
        ]
        want = made["model"].predict_proba(rows)
        np.testing.assert_allclose(
            [[one["probabilities"]["no"], one["probabilities"]["yes"]] for one in said], want, atol=1e-5
        )
        assert [one["label"] for one in said] == made["model"].predict(rows).tolist()
        assert predict(server, {"rows": rows.tolist()}).json["predictions"] == said


def test_a_boosted_regression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served("xgboost", tmp_path, monkeypatch) as (server, made):
        rows = made["rows"][:20]
        answer = predict(server, {"columns": ["width", "height", "depth"], "rows": rows.tolist()})
        assert answer.status == 200, answer.body
        (values,) = zip(*(one.values() for one in answer.json["predictions"]), strict=True)
        np.testing.assert_allclose(values, made["model"].predict(rows), rtol=1e-4)


def test_columns_that_do_not_fit_are_refused_when_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.unit.serve import onnx_models

    model = onnx_models.mlp(tmp_path / "m.onnx", (3, 4, 2))
    for columns, words in (("a,b", "has 3 values"), ("a,a,b", "2 different columns")):
        options = ["--onnx", str(model), "--output", str(tmp_path / "o"), "--task", "tabular", "--columns", columns]
        assert import_command(options) == 2
        assert words in capsys.readouterr().err
