"""Every way to get a QuantizationJob wrong ends in words that say what to change, and is refused as early as can be."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.api.quantization import quantizationjob
from slipway.api.quantization.fpga import Fpga
from slipway.api.quantization.ladder import UNSUPPORTED, Hardware, Rung, Runtime, Target
from slipway.api.quantization.quantizationjob import spec_problems
from tests.unit.api.admission import Admission
from tests.unit.quantizationjob.refusals import NVIDIA, RIGHT, WRONG, Wrong
from workloads.quantize.algorithms.target import impossible

ADMISSION = Admission(quantizationjob.KIND)


def test_the_starting_point_is_right() -> None:
    assert ADMISSION.refusals(Wrong("", {}, "").manifest) == []
    assert spec_problems("q", RIGHT)[1] == []


def test_names_in_the_table_are_unique() -> None:
    names = [wrong.name for wrong in WRONG]
    assert len(names) == len(set(names)) >= 30


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_the_reconcile_refuses_it_in_words(wrong: Wrong) -> None:
    parsed, problems = spec_problems(wrong.job_name, wrong.spec)
    assert parsed is None
    assert wrong.words in "; ".join(problems)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_admission_refuses_it_as_early_as_can_be(wrong: Wrong) -> None:
    structural = ADMISSION.structural(wrong.manifest)
    assert bool(structural) == (wrong.by == "schema"), structural
    if wrong.by == "cel":
        cel = ADMISSION.cel(wrong.manifest)
        assert cel
        assert wrong.words in "; ".join(cel)


@settings(deadline=None, max_examples=12)
@given(
    st.lists(st.sampled_from(Rung), min_size=1, max_size=4, unique=True),
    st.sampled_from([{}, {"runtime": "openvino"}, NVIDIA]),
    st.sampled_from([3, 8]),
)
def test_cel_and_the_reconcile_agree_on_every_ladder(ladder: list[Rung], target: dict[str, Any], bits: int) -> None:
    patch = {"ladder": [rung.value for rung in ladder], "target": target, "weights": {"bits": bits}}
    wrong = Wrong("", patch, "")
    assert bool(ADMISSION.refusals(wrong.manifest)) == bool(spec_problems("q", wrong.spec)[1])


@pytest.mark.parametrize("runtime", Runtime)
def test_what_admission_calls_impossible_is_what_the_quantizer_leaves_out(runtime: Runtime) -> None:
    hardware = Hardware.NVIDIA if runtime is Runtime.TENSORRT else Hardware.X86_VNNI
    fpga = Fpga(part="xc7z020clg400-1") if runtime is Runtime.HLS else None
    target = Target(runtime=runtime, hardware=hardware, fpga=fpga)
    assert UNSUPPORTED[runtime] == {rung for rung in Rung if impossible(rung, target, 8)}
