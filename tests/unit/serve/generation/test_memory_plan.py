"""The memory plan: its numbers are the engine's, and what does not fit is refused with them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.common.language import LanguageModel
from slipway.api.serving.generation_memory import BLOCK, DoesNotFit, cache_bytes_per_token, plan

MODEL = LanguageModel(
    family="llama",
    context_length=4096,
    vocabulary=4096,
    layers=6,
    hidden_size=256,
    heads=8,
    key_value_heads=4,
    head_size=32,
    tied=True,
)
MIB = 1 << 20


def planned(**said):
    asked = {"context": 1024, "sequences": 8, "batched_tokens": 256, "precision": "f16", **said}
    return plan(MODEL, 20 * MIB, **asked)


@pytest.mark.parametrize(("precision", "block"), [("f32", 196_608), ("f16", 98_304), ("auto", 98_304), ("u8", 61_440)])
def test_bytes_of_a_block_are_those_that_the_engine_said(precision: str, block: int) -> None:
    """Measured: openvino_genai's get_metrics() for this very model."""
    assert cache_bytes_per_token(MODEL, precision) * BLOCK == block


def test_all_sequences_have_room_where_nothing_bounds_them() -> None:
    assert planned().cache_tokens >= 8 * 1024


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"limit": 100 * MIB}, ["memory limit is 100 MiB", "weights 20 MiB", "keys and values", "tokens"]),
        ({"cache": 1 * MIB}, ["1024 tokens", "kvCache.memory is 1.0 MiB", "maxModelLength"]),
        ({"cache": 600 * MIB, "limit": 700 * MIB}, ["600 MiB", "resources.limits.memory"]),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(said, words) -> None:
    with pytest.raises(DoesNotFit) as refusal:
        planned(**said)
    for one in ["DoesNotFit", *words]:
        assert re.search(one, str(refusal.value)), str(refusal.value)


@given(st.integers(400, 4000), st.integers(16, 4096), st.integers(1, 64))
def test_a_plan_is_within_its_limit_and_holds_a_whole_answer(limit: int, context: int, sequences: int) -> None:
    try:
        made = planned(limit=limit * MIB, context=context, sequences=sequences)
    except DoesNotFit:
        return
    assert made.total <= limit * MIB
    assert made.cache_tokens > context
