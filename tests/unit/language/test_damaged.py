"""Damage done on purpose after a model was judged is told by its probes in the engine that serves."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from slipway.api.quantization.ladder import Rung
from workloads.errors import BadInput
from workloads.language import artifacts, probes
from workloads.language.layerwise import Layerwise
from workloads.language.openvino import separate
from workloads.quantize.language.candidate import Wanted, build
from workloads.quantize.language.rounding import Scheme


def replayed(ir: Path, of: Path) -> str:
    """Verdict on a folder of OpenVINO's by the probes of an artifact."""
    found = artifacts.read(of).probes
    assert found is not None
    prompts, count = [probe.prompt for probe in found.probes], len(found.probes[0].answer.tokens)
    served = [probes.Answer(*one) for one in separate.answers(ir, prompts, count)]
    return probes.compared(found.probes, served).reason


def copied(folder: Path, at: Path) -> Path:
    shutil.copytree(folder, at)
    return at


def changed(folder: Path, layer: str, factor: float) -> Path:
    tensors = load_file(folder / "model.safetensors")
    tensors |= {name: one * factor for name, one in tensors.items() if layer in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("damage", ["none", "int2", "one layer's scales times 1.5", "two layers swapped"])
def test_a_model_that_is_not_the_judged_one_is_told_in_the_engine(damage: str, published: Path, tmp_path: Path) -> None:
    folder = copied(published, tmp_path / "model")
    if damage == "int2":  # written as 4 bits, of which two are used
        folder = tmp_path / "few"
        build(Layerwise(published), published, Wanted(Rung.RTN_INT4, _Two(4, 64, symmetric=True)), [], folder)
    elif damage.startswith("one"):
        changed(folder, "layers.1.", 1.5)
    elif damage.startswith("two"):
        tensors = load_file(folder / "model.safetensors")
        other = {"layers.0.": "layers.1.", "layers.1.": "layers.0."}
        swapped = {
            next((name.replace(one, other[one]) for one in other if one in name), name): tensor
            for name, tensor in tensors.items()
        }
        save_file({name: one.clone() for name, one in swapped.items()}, folder / "model.safetensors")
    separate.write(folder, tmp_path / "ir")
    assert replayed(tmp_path / "ir", published) == ("" if damage == "none" else probes.MISMATCH)


class _Two(Scheme):
    """Scales of 2 bits: numbers from -2 to 1."""

    @property
    def low(self) -> int:
        return -2

    @property
    def high(self) -> int:
        return 1


def test_renamed_tensors_are_refused_before_a_graph_is_built(published: Path, tmp_path: Path) -> None:
    folder = copied(published, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    renamed = {name.replace("up_proj", "up_projection"): one for name, one in tensors.items()}
    save_file(renamed, folder / "model.safetensors")
    with pytest.raises(BadInput, match="up_proj"):
        separate.write(folder, tmp_path / "ir")


def test_an_adapter_is_applied_in_the_engine_and_another_or_none_is_told(
    published: Path, adapter: Path, tmp_path: Path
) -> None:
    separate.write(published, tmp_path / "adapted", adapter)
    assert replayed(tmp_path / "adapted", adapter) == ""
    separate.write(published, tmp_path / "bare")
    assert replayed(tmp_path / "bare", adapter) == probes.NOT_APPLIED
    other = copied(adapter, tmp_path / "other")
    tensors = {name: -one for name, one in load_file(other / "adapter_model.safetensors").items()}
    tensors |= {name: one.roll(1, 0) for name, one in tensors.items() if "lora_A" in name}
    save_file(tensors, other / "adapter_model.safetensors")
    separate.write(published, tmp_path / "swapped", other)
    assert replayed(tmp_path / "swapped", adapter) == probes.MISMATCH
    renamed = {name.replace("up_proj", "upper_proj"): one for name, one in tensors.items()}
    save_file(renamed, other / "adapter_model.safetensors")
    with pytest.raises(BadInput, match="AdapterNotApplied"):
        separate.write(published, tmp_path / "renamed", other)


def test_an_adapter_over_a_quantized_base_is_not_rounded_away(published: Path, adapter: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    build(Layerwise(published), published, Wanted(Rung.RTN_INT4, Scheme(8, 32, symmetric=False)), [], packed)
    separate.write(packed, tmp_path / "ir", adapter)
    assert replayed(tmp_path / "ir", adapter) == ""
    text = torch.arange(5, 40)[None]
    served, bare = (next(separate.Paged(one, "f32").each([text])) for one in (tmp_path / "ir", _bare(packed, tmp_path)))
    assert float((served - bare).abs().max()) > 0.1


def _bare(packed: Path, tmp_path: Path) -> Path:
    separate.write(packed, tmp_path / "bare")
    return tmp_path / "bare"
