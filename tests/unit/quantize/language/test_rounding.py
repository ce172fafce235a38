"""Matrices in few bits: packed without loss, rounded within half a step, and by GPTQ closer to the layer's outputs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workloads.language.packed import pack, unpack
from workloads.quantize.language import awq
from workloads.quantize.language.rounding import Scheme, gptq, nearest


@given(st.integers(1, 5), st.integers(1, 40), st.sampled_from([2, 4, 8]), st.integers(0, 2**32 - 1))
def test_packed_numbers_come_back(rows: int, columns: int, bits: int, seed: int) -> None:
    numbers = torch.randint(
        -(2 ** (bits - 1)), 2 ** (bits - 1), (rows, columns), generator=torch.Generator().manual_seed(seed)
    ).to(torch.int8)
    assert torch.equal(unpack(pack(numbers, bits), bits, columns), numbers)


@settings(max_examples=50)
@given(st.booleans(), st.sampled_from([4, 8]), st.integers(0, 999), st.floats(1e-6, 1e4))
def test_a_weight_is_off_by_half_a_step_at_most(symmetric: bool, bits: int, seed: int, size: float) -> None:
    weight = torch.randn(6, 32, generator=torch.Generator().manual_seed(seed)) * size
    weight[0] = 0.0
    weight[1] = weight[1].abs() + size
    found = nearest(weight, Scheme(bits, 16, symmetric))
    off = (found.matrix() - weight).abs().reshape(6, 2, 16)
    # A zero that is rounded itself adds another half.
    assert bool((off <= found.scales[..., None] * (0.501 if symmetric else 1.01) + 1e-12).all())
    assert float(found.matrix()[0].abs().max()) == 0.0


def inputs(count: int = 256, width: int = 64) -> torch.Tensor:
    """Inputs that depend on each other, with a few large ones, as transformers have them."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(count, width, generator=generator) @ torch.randn(width, width, generator=generator)
    mixed[:, ::17] *= 8
    return mixed


@pytest.mark.parametrize("symmetric", [True, False])
def test_gptq_leaves_less_error_in_the_outputs_than_rounding(symmetric: bool) -> None:
    seen, weight = inputs(), torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    scheme = Scheme(4, 32, symmetric)
    errors = [
        float(((weight - found.matrix()) @ seen.t()).square().sum())
        for found in (nearest(weight, scheme), gptq(weight, seen.double().t() @ seen.double(), scheme))
    ]
    assert errors[1] < 0.8 * errors[0]


def test_gptq_with_independent_inputs_rounds_to_nearest_and_a_dead_input_is_harmless() -> None:
    weight = torch.randn(8, 32, generator=torch.Generator().manual_seed(2))
    scheme = Scheme(4, 32, symmetric=True)
    assert torch.equal(gptq(weight, torch.eye(32), scheme).numbers, nearest(weight, scheme).numbers)
    moments = torch.eye(32)
    moments[3] = moments[:, 3] = 0.0
    assert bool(gptq(weight, moments, scheme).matrix().isfinite().all())


def test_awq_changes_nothing_but_the_rounding() -> None:
    torch.manual_seed(3)
    layer = torch.nn.Module()
    layer.input_layernorm, layer.post_attention_layernorm = torch.nn.RMSNorm(64), torch.nn.RMSNorm(64)
    layer.self_attn, layer.mlp = torch.nn.Module(), torch.nn.Module()
    for name in ("q_proj", "k_proj", "v_proj"):
        setattr(layer.self_attn, name, torch.nn.Linear(64, 32, bias=False))
    for name, sizes in (("gate_proj", (64, 96)), ("up_proj", (64, 96)), ("down_proj", (96, 64))):
        setattr(layer.mlp, name, torch.nn.Linear(*sizes, bias=False))

    def outputs(given: torch.Tensor) -> torch.Tensor:
        hidden, mlp = layer.post_attention_layernorm(given), layer.mlp
        return mlp.down_proj(torch.nn.functional.silu(mlp.gate_proj(hidden)) * mlp.up_proj(hidden))

    seen = inputs()
    before = outputs(seen)
    inner = torch.nn.functional.silu(layer.mlp.gate_proj(seen)) * layer.mlp.up_proj(seen)
    there = dict(layer.named_modules())
    names = [name for group, _ in awq.GROUPS for name in group if name in there]
    given = {name: inner if name == "mlp.down_proj" else seen for name in names}
    awq.fold(layer, {name: one.detach() for name, one in given.items()}, Scheme(4, 32, symmetric=False))
    assert not torch.equal(layer.post_attention_layernorm.weight, torch.ones(64))
    torch.testing.assert_close(outputs(seen), before, rtol=1e-3, atol=1e-2)
