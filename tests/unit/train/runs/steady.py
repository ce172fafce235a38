"""A GPT-2 that drops nothing, for tests: with dropout, every way to spread a model takes a path of its own."""

from pathlib import Path
from typing import Any

from torch import nn

from tests.unit.train.runs.texts import wikitext
from workloads.models.transformer import LanguageModel


def gpt2(vocabulary: int, length: int, layers: str = "2", heads: str = "2", **_data: Any) -> nn.Module:
    """The user's own model, which is the trainer's."""
    model = LanguageModel(vocabulary, length, int(layers), 32, int(heads))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def recipe(folder: Path, model: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    """Six steps of two micro-batches each."""
    return {
        "model": {"name": "custom", "callable": "tests.unit.train.runs.steady:gpt2", "arguments": model or {}},
        "dataset": {
            "name": "text-files",
            "uri": wikitext(folder / "text").as_uri(),
            "sequenceLength": 32,
            "limit": 96,
        },
        "globalBatchSize": 16,
        "gradientAccumulationSteps": 2,
        "epochs": 1,
        "gradientClipping": 0.5,
        "optimizer": {"name": "adamw", "learningRate": 0.01, "weightDecay": 0.1},
        **changes,
    }
