"""Few bits of more than one width, and of GPT-2's matrices: read back alike by torch and by OpenVINO, better than 4."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.quantization.ladder import Rung
from tests.unit.language.conftest import tiny
from tests.unit.quantize.language.test_language_jobs import built
from workloads.language import packed, weights
from workloads.language.layerwise import Layerwise
from workloads.language.openvino import separate
from workloads.quantize import command
from workloads.quantize.language import judging
from workloads.quantize.language.rounding import Scheme
from workloads.quantize.language.sensitivity import SHARE, chosen

SIZES = st.dictionaries(st.text("abc", min_size=1), st.tuples(st.floats(0, 1), st.integers(1, 1000)), max_size=12)


@given(SIZES)
def test_no_more_than_the_share_is_wide_and_what_loses_more_comes_first(losses: dict[str, tuple[float, int]]) -> None:
    found = chosen(losses)
    wide = [name for name, bits in found.items() if bits == 8]
    assert found.keys() == losses.keys()
    assert sum(losses[name][1] for name in wide) <= SHARE * sum(size for _, size in losses.values())
    for name in found.keys() - set(wide):  # each that is left out is larger than what is left, or loses less
        ahead = sum(losses[one][1] for one in wide if losses[one][0] >= losses[name][0])
        assert ahead + losses[name][1] > SHARE * sum(size for _, size in losses.values())


def _texts(count: int, length: int = 64) -> list[torch.Tensor]:
    return [torch.randint(5, 90, (1, length), generator=torch.Generator().manual_seed(at)) for at in range(count)]


def _same(folder: Path, ir: Path) -> None:
    """One answer by whole transformers, by layers and by OpenVINO."""
    (text,) = _texts(1, 40)
    with torch.no_grad():
        whole, layers = weights.load(folder)(input_ids=text).logits[0], Layerwise(folder)(text).logits[0]
    separate.write(folder, ir)
    (served,) = separate.Paged(ir, "f32").each([text])
    assert float((layers - whole).abs().max()) < 1e-4
    assert float((served - whole).abs().max()) < 1e-3


def test_a_mixed_model_is_closer_than_four_bits_and_read_alike_everywhere(model: Path, tmp_path: Path) -> None:
    scheme, texts = Scheme(4, 64, symmetric=False), _texts(16)
    four = built(model, tmp_path / "four", Rung.GPTQ_INT4, scheme, texts[:8])
    mixed = built(model, tmp_path / "mixed", Rung.MIXED_INT4, scheme, texts[:8])
    groups = json.loads((mixed / "config.json").read_text())["quantization_config"]["config_groups"]
    assert [groups[name]["weights"]["num_bits"] for name in ("group_0", "group_1")] == [4, 8]
    assert 1 <= len(groups["group_1"]["targets"]) < 14
    reader = packed.opened(mixed)
    assert isinstance(reader, packed.PackedShards)
    assert {reader.codes(f"{name}.weight").bits for name in groups["group_1"]["targets"]} == {8}
    losses = [sum(judging.judge(Layerwise(model), Layerwise(at), texts[8:]).divergence) for at in (four, mixed)]
    assert losses[1] < losses[0]
    _same(mixed, tmp_path / "ir")
    first = {path.name: path.read_bytes() for path in mixed.iterdir()}
    again = built(model, tmp_path / "again", Rung.MIXED_INT4, scheme, texts[:8])
    assert {path.name: path.read_bytes() for path in again.iterdir()} == first


@pytest.mark.parametrize(
    "rung",
    [pytest.param(Rung.RTN_INT4, marks=pytest.mark.slow), Rung.AWQ_INT4, Rung.GPTQ_INT4, Rung.MIXED_INT4],
)
def test_gpt2_is_quantized_and_read_alike_everywhere(rung: Rung, model: Path, tmp_path: Path) -> None:
    folder = tiny("gpt2", tmp_path / "gpt2")
    shutil.copy(model / "tokenizer.json", folder / "tokenizer.json")
    texts = _texts(4)
    torch.testing.assert_close(Layerwise(folder)(texts[0]).logits, weights.load(folder)(input_ids=texts[0]).logits)
    at = built(folder, tmp_path / "few", rung, Scheme(4, 8, symmetric=False), texts)
    _same(at, tmp_path / "ir")
    square = packed.opened(at).tensor("transformer.h.0.attn.c_proj.weight")
    wanted = weights.load(folder).state_dict()["transformer.h.0.attn.c_proj.weight"]
    assert float((square - wanted).norm()) < 0.3 * float(wanted.norm())  # and not its transpose


def test_gpt2_in_a_form_that_nobody_reads_is_refused(
    job: Callable[..., Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny("gpt2", tmp_path / "gpt2")
    shutil.copy(model / "tokenizer.json", folder / "tokenizer.json")
    assert command.main(["--config", str(job(model={"uri": folder.as_uri()}, ladder=["rtn-int4"]))]) == 2
    assert "set target.runtime openvino" in capsys.readouterr().err
