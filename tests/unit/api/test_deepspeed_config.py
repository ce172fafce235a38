"""Further keys of DeepSpeed's configuration: passed through, but for those that Slipway sets itself."""

import pytest
from pydantic import ValidationError

from slipway.api.training.deepspeed import render
from slipway.api.training.launchers import DeepSpeed


def test_keys_are_passed_through_below_what_is_rendered() -> None:
    config = {
        "zero_optimization.overlap_comm": "true", "zero_optimization.reduce_bucket_size": "5e8",
        "communication_data_type": "fp32", "flops_profiler.enabled": "true", "wall_clock_breakdown": "false",
    }  # fmt: skip
    found = render(DeepSpeed(zero_stage=2, config=config), None, None)
    assert found["zero_optimization"] == {"stage": 2, "overlap_comm": True, "reduce_bucket_size": 5e8}
    assert found["communication_data_type"] == "fp32"
    assert found["flops_profiler"] == {"enabled": True}
    assert found["bf16"] == {"enabled": True}


@pytest.mark.parametrize(
    "key",
    [
        "train_batch_size", "optimizer", "optimizer.type", "scheduler.params.lr", "bf16.enabled", "fp16",
        "zero_optimization", "zero_optimization.stage", "zero_optimization.offload_param.device",
        "zero_optimization.sub_group_size", "gradient_clipping", "steps_per_print", "gradient_accumulation_steps",
    ],
)  # fmt: skip
def test_what_slipway_sets_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="use those fields, or remove it"):
        DeepSpeed(config={key: "1"})


@pytest.mark.parametrize("key", ["Zero", "a..b", ".a", "a b", "a.", "x" * 129])
def test_names_that_are_none_are_refused(key: str) -> None:
    with pytest.raises(ValidationError):
        DeepSpeed(config={key: "1"})
