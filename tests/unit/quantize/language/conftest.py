"""Documents that the small model was not trained on, and jobs that quantize it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.models.language import corpus, small

PIECE = 500  # characters of a document: many short ones tell more of the spread than few long ones


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Path:
    return small.folder()


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """URIs of documents to calibrate on and to judge by."""
    folder, found = tmp_path_factory.mktemp("texts"), corpus.short()
    uris = {}
    for name, part in (("calibration", found.calibration), ("evaluation", found.held_out)):
        pieces = [text[at : at + PIECE] for text in part for at in range(0, len(text), PIECE)]
        place = folder / name
        place.mkdir()
        records = [json.dumps({"text": piece}) + "\n" for piece in pieces if len(piece) > 100]
        (place / "train.jsonl").write_text("".join(records[:24]))
        (place / "test.jsonl").write_text("".join(records[24:]))
        uris[name] = place.as_uri()
    return uris


@pytest.fixture
def job(tmp_path: Path, model: Path, texts: dict[str, str]) -> Callable[..., Path]:
    """Writes a job document; more fields of the spec by name."""

    def write(**more: Any) -> Path:
        def data(name: str) -> dict[str, Any]:
            return {"name": "sft", "uri": texts[name], "format": "text", "maxLength": 128}

        spec = {
            "model": {"uri": model.as_uri()},
            "calibration": {"dataset": data("calibration"), "samples": 24},
            "evaluation": {"dataset": data("evaluation")},
            "weights": {"groupSize": 32},
            "output": {"uri": (tmp_path / "quantized").as_uri()},
            **more,
        }
        whole = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "QuantizationJob",
            "metadata": {"name": "light", "namespace": "ml", "uid": "6f1c4a52-6f7e-4f0a-9a53-1f2f3c4d5e6f"},
            "spec": {name: value for name, value in spec.items() if value is not None},
        }
        (tmp_path / "job.json").write_text(json.dumps(whole))
        return tmp_path / "job.json"

    return write
