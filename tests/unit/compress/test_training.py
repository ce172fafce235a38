"""Zeros that stay zero while a model is trained, and answers that are learned from a teacher."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from slipway.api.training.compression import Distillation
from tests.unit.compress.toys import EXAMPLE, pictures, step, toy
from workloads.compress import masks
from workloads.compress.apply import compress
from workloads.compress.distillation import Teacher, soft_loss
from workloads.compress.prunable import last
from workloads.compress.sparsity_2_4 import pattern

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1),
}


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> None:
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(pictures(8)), torch.randint(0, 3, (8,)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("fields", [{"method": "two-four"}, {"method": "magnitude", "ratio": 0.5}])
def test_zeros_stay_exactly_zero_and_all_else_is_trained(optimizer, fields):
    model = toy("cnn").train()
    kept = compress(model, [step(**fields)], EXAMPLE).kept
    before = copy.deepcopy(model.state_dict())
    masks.hold(model, kept)
    trained(model, OPTIMIZERS[optimizer](model.parameters()))
    after = model.state_dict()
    for name, mask in kept.items():
        assert (after[name][~mask] == 0).all()
    assert (after["hidden.weight"] != before["hidden.weight"])[kept["hidden.weight"]].all()
    if fields["method"] == "two-four":
        assert all(((after[name] != 0) <= pattern(after[name])).all() for name in kept)


def test_the_steps_are_those_of_torchs_own_pruning():
    """torch.nn.utils.prune computes with weight_orig * mask; the names differ, the numbers must not."""
    ours = toy("cnn").train()
    theirs = copy.deepcopy(ours)
    kept = compress(ours, [step(method="magnitude", ratio=0.6)], EXAMPLE).kept
    for name, mask in kept.items():
        layer = theirs.get_submodule(name.removesuffix(".weight"))
        nn.utils.prune.custom_from_mask(layer, "weight", mask)
    masks.hold(ours, kept)
    for model in (ours, theirs):
        torch.manual_seed(7)
        trained(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    with torch.no_grad():
        images = pictures()
        torch.testing.assert_close(ours(images), theirs(images))


def test_two_sparse_steps_keep_what_both_keep():
    model = toy("cnn")
    done = compress(model, [step(method="two-four"), step(method="magnitude", ratio=0.8)], EXAMPLE)
    assert all((model.state_dict()[name][~mask] == 0).all() for name, mask in done.kept.items())
    pruned = [mask for name, mask in done.kept.items() if name != f"{last(model)}.weight"]  # which is spared
    assert sum(int((~mask).sum()) for mask in pruned) >= 0.8 * sum(mask.numel() for mask in pruned) - 1


def test_masks_that_differ_in_one_place_have_another_digest():
    kept = compress(toy("cnn"), [step(method="two-four")], EXAMPLE).kept
    other = {name: mask.clone() for name, mask in kept.items()}
    assert masks.digest(other) == masks.digest(kept)
    next(iter(other.values()))[0, 0] ^= True
    assert masks.digest(other) != masks.digest(kept)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 5), classes=st.integers(2, 6), temperature=st.floats(0.5, 20.0), alpha=st.floats(0.01, 1.0),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_the_loss_of_distillation_is_the_formula_written_out(rows, classes, temperature, alpha, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 3, generator=generator)
    student, teacher = (torch.randn(3, classes, generator=generator) for _ in range(2))
    choice = Distillation.model_validate({"teacher": {"uri": "file:///t"}, "temperature": temperature, "alpha": alpha})
    model = nn.Linear(3, classes, bias=False)
    with torch.no_grad():
        model.weight.copy_(teacher.T)
    hard, outputs = torch.tensor(1.25), inputs @ student
    total = 0.0
    for row in range(rows):
        wanted = [float(value) / temperature for value in (inputs @ teacher)[row].double()]
        given_ = [float(value) / temperature for value in outputs[row].double()]
        norm = [sum(torch.tensor(v).double().exp() for v in values) for values in (wanted, given_)]
        for q, p in zip(wanted, given_, strict=True):
            share = torch.tensor(q).double().exp() / norm[0]
            total += float(share * (torch.log(share) - p + torch.log(norm[1])))
    expected = (1 - alpha) * 1.25 + alpha * temperature**2 * total / rows
    found = Teacher(model, choice).loss(hard, inputs, outputs)
    assert float(found) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_who_answers_as_the_teacher_does_has_the_least_loss_there_is():
    wanted = torch.randn(6, 4, 5)
    assert float(soft_loss(wanted, wanted, 3.0)) == pytest.approx(0.0, abs=1e-6)
    assert soft_loss(wanted + torch.randn_like(wanted), wanted, 3.0) > 0.01
    outputs = wanted.clone().requires_grad_()
    soft_loss(outputs, wanted, 3.0).backward()
    assert outputs.grad is not None
    assert outputs.grad.abs().max() < 1e-6


def test_a_teacher_is_never_trained():
    model = nn.Linear(3, 2)
    teacher = Teacher(model, Distillation.model_validate({"teacher": {"uri": "file:///t"}}))
    outputs = torch.randn(4, 2, requires_grad=True)
    teacher.loss(torch.tensor(0.0), torch.randn(4, 3), outputs).backward()
    assert outputs.grad is not None
    assert model.weight.grad is None
