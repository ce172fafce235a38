"""Models without memory, and the values that they get: a part for each process, from files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from workloads.errors import Corrupt
from workloads.models import empty, weight_parts, weights
from workloads.models.weight_parts import WeightParts


class Tied(nn.Module):
    """Embedding and output are one parameter; a buffer that no file keeps, and one that is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.norm = nn.BatchNorm1d(4)
        self.output = nn.Linear(4, 7, bias=False)
        self.output.weight = self.embedding.weight
        self.register_buffer("places", torch.arange(3.0), persistent=False)


def emptied() -> Tied:
    with empty.parameters_without_memory():
        return Tied()


def test_a_model_without_memory_gets_the_values_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_parts, "AT_ONCE", 16)  # several reads of each
    whole, model = Tied(), emptied()
    assert all(parameter.is_meta for parameter in model.parameters())
    kept = {name: tensor for name, tensor in whole.state_dict().items() if name != "output.weight"}
    save_file(kept, tmp_path / "model.safetensors")
    found = weights.parts(model, str(tmp_path / "model.safetensors"))
    assert found is not None
    before = list(model.parameters())
    empty.give_memory(model, torch.device("cpu"), found.fill)
    assert [id(one) for one in before] == [id(one) for one in model.parameters()]
    assert model.output.weight is model.embedding.weight
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in kept.items())
    assert torch.equal(model.get_buffer("places"), torch.arange(3.0))


def test_only_files_that_hold_all_of_the_model_are_read_in_parts(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in Tied().state_dict().items() if name != "output.weight"}
    for name, tensors in {"more": {**state, "other": torch.ones(1)}, "less": dict(list(state.items())[1:])}.items():
        save_file(tensors, tmp_path / f"{name}.safetensors")
        assert weights.parts(emptied(), str(tmp_path / f"{name}.safetensors")) is None


def test_rows_are_read_and_no_others(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(12.0).reshape(4, 3).to(torch.bfloat16), "b": torch.tensor(5), "c": torch.empty(0, 2)}
    save_file(tensors, tmp_path / "x.safetensors")
    parts = WeightParts([tmp_path / "x.safetensors"])
    assert torch.equal(parts.rows("a", 1, 2), tensors["a"][1:3])
    scalar = torch.zeros((), dtype=torch.int64)
    parts.fill("b", scalar)
    assert int(scalar) == 5
    parts.fill("c", torch.empty(0, 2))


@pytest.mark.parametrize("content", [b"", b"12", b"\xff" * 40, (2).to_bytes(8, "little") + b"[]"])
def test_a_file_that_is_none_is_corrupt(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    if content:
        with pytest.raises(Corrupt):
            WeightParts([tmp_path / "x.safetensors"])


def test_a_file_that_was_cut_short_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(Corrupt, match="ends before a does"):
        WeightParts([path]).rows("a", 0, 100)
