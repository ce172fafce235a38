"""Each method keeps its promise: what is removed is gone, what is left computes what it computed before."""

import copy

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import nn

from tests.unit.compress.toys import EXAMPLE, pictures, silence, step, toy
from workloads.compress.apply import compress
from workloads.compress.low_rank import rank_for
from workloads.compress.size import figures
from workloads.compress.sparsity_2_4 import pattern
from workloads.errors import BadInput, Corrupt
from workloads.models.compressed import rebuilt

NAMES = ["cnn", "resnet18", "mobilenetv2"]


@pytest.mark.parametrize("name", NAMES)
def test_without_channels_it_computes_what_the_larger_one_does_when_these_are_silent(name):
    model = toy(name)
    smaller = copy.deepcopy(model)
    compress(smaller, [step(method="channels", ratio=0.5)], EXAMPLE)
    silence(model, smaller)
    with torch.no_grad():
        images = pictures()
        torch.testing.assert_close(smaller(images), model(images), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_half_of_the_channels_are_a_quarter_of_the_work(name):
    model = toy(name)
    before = figures(model, EXAMPLE)
    compress(model, [step(method="channels", ratio=0.5)], EXAMPLE)
    after = figures(model, EXAMPLE)
    assert after["flops"] < 0.32 * before["flops"]
    assert after["parameters"] < 0.32 * before["parameters"]
    assert after["sizeBytes"] < 0.32 * before["sizeBytes"]


STEPS = st.lists(
    st.one_of(
        st.builds(lambda ratio: step(method="channels", ratio=ratio), st.sampled_from([0.25, 0.5, 0.7])),
        st.builds(lambda energy: step(method="low-rank", energy=energy), st.sampled_from([0.3, 0.6, 0.8])),
    ),
    min_size=1,
    max_size=2,
)


@settings(max_examples=12, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**16), name=st.sampled_from(["cnn", "mobilenetv2"]))
def test_built_again_by_its_record_it_takes_the_weights_and_answers_alike(steps, seed, name):
    model = toy(name, seed)
    try:
        done = compress(model, steps, EXAMPLE)
    except BadInput:
        reject()  # too little energy is asked to be lost, or too few channels are left
    again = rebuilt(toy(name, seed + 1), done.changes)
    again.load_state_dict(model.state_dict())
    images = pictures()
    with torch.no_grad():
        assert torch.equal(again.eval()(images), model.eval()(images))


@settings(max_examples=20, deadline=None)
@given(
    rank=st.integers(1, 3), outputs=st.integers(9, 20), inputs=st.integers(9, 20), convolution=st.booleans(),
    seed=st.integers(0, 2**16),
)  # fmt: skip
def test_with_all_of_its_energy_a_layer_of_low_rank_is_the_same_function(rank, outputs, inputs, convolution, seed):
    torch.manual_seed(seed)
    layer: nn.Module = nn.Conv2d(inputs, outputs, 3, padding=1) if convolution else nn.Linear(inputs, outputs)
    with torch.no_grad():
        matrix = torch.randn(outputs, rank) @ torch.randn(rank, layer.weight[0].numel())
        layer.weight.copy_(matrix.reshape(layer.weight.shape))
    model = nn.Sequential(layer)
    images = torch.randn(2, inputs, 5, 5) if convolution else torch.randn(2, inputs)
    with torch.no_grad():
        expected = model(images)
        done = compress(model, [step(method="low-rank", energy=1 - 1e-12)], images)
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)
    assert done.changes[0].rank == rank


def test_all_of_the_energy_of_a_layer_of_full_rank_leaves_it_as_it_is():
    with pytest.raises(BadInput, match="no layer gets smaller when 1 of its energy is kept: lower energy"):
        compress(toy("cnn"), [step(method="low-rank", energy=1.0)], EXAMPLE)


@given(values=st.lists(st.floats(0.0, 1e3), min_size=1, max_size=12), energy=st.floats(0.01, 1.0))
def test_the_rank_is_the_least_that_holds_the_energy(values, energy):
    ordered = torch.tensor(sorted(values, reverse=True), dtype=torch.float64)
    rank, squares = rank_for(ordered, energy), ordered.square()
    assert 1 <= rank <= len(values)
    if squares.sum() > 0:
        assert squares[:rank].sum() >= energy * squares.sum() * (1 - 1e-12)
        assert rank == 1 or squares[: rank - 1].sum() < energy * squares.sum() * (1 + 1e-12)


@given(
    outputs=st.integers(1, 6), groups=st.integers(1, 5), kernel=st.sampled_from([(), (1, 1), (3, 3)]),
    seed=st.integers(0, 2**16), levels=st.integers(1, 1000),
)  # fmt: skip
def test_two_of_each_four_along_the_input_are_kept_and_they_are_the_largest(outputs, groups, kernel, seed, levels):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-levels, levels + 1, (outputs, 4 * groups, *kernel), generator=generator).float()
    mask = pattern(weight)
    fours = mask.movedim(1, -1).reshape(-1, 4)
    assert torch.equal(fours.sum(1), torch.full((len(fours),), 2))
    values = weight.abs().movedim(1, -1).reshape(-1, 4)
    least_kept = values.masked_fill(~fours, float("inf")).min(1).values
    assert (values.masked_fill(fours, -1.0).max(1).values <= least_kept).all()


@given(ratio=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_magnitude_takes_the_smallest_of_all_layers_together(ratio, seed):
    model = toy("cnn", seed)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = compress(model, [step(method="magnitude", ratio=ratio)], EXAMPLE).kept
    flat = torch.cat([before[name].flatten() for name in kept])
    mask = torch.cat([kept[name].flatten() for name in kept])
    assert int((~mask).sum()) == round(ratio * len(flat))
    for name, own in kept.items():
        values = before[name].abs()
        assert own.any()
        assert own.all() or values[~own].max() <= values[own].min()
    assert all(torch.equal(model.state_dict()[name], before[name] * kept[name]) for name in kept)


def test_steps_follow_each_other_and_layers_may_be_excluded():
    model = toy("cnn", width=8)
    steps = [
        step(method="channels", ratio=0.5, exclude=["features.0"]),
        step(method="low-rank", energy=0.7, exclude=["features.*"]),
        step(method="two-four"),
    ]
    done = compress(model, steps, EXAMPLE)
    assert [words.split(":")[0] for words in done.words] == ["channels", "low-rank", "two-four"]
    assert model.get_submodule("features.0").out_channels == 8
    assert model.get_submodule("features.3").out_channels == 8
    assert all("features" not in change.layer for change in done.changes if change.rank)
    assert "hidden.0.weight" in done.kept


@pytest.mark.parametrize(
    ("model", "fields", "words"),
    [
        (nn.Sequential(nn.Linear(4, 4)), {"method": "channels", "ratio": 0.5}, "the model has none: use low-rank"),
        (nn.Sequential(nn.ReLU()), {"method": "magnitude", "ratio": 0.5}, "the model has none that is not excluded"),
        (nn.Sequential(nn.Linear(3, 4)), {"method": "two-four"}, "divide by four, and the model has none"),
        (toy("cnn", width=4), {"method": "channels", "ratio": 0.9}, "leaves none of the 4 channels of features.0"),
        (toy("cnn"), {"method": "channels", "ratio": 0.5, "exclude": ["*"]}, "no layer has a channel to spare"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(model, fields, words):
    with pytest.raises(BadInput, match=words):
        compress(model, [step(**fields)], EXAMPLE)


def test_an_artifact_that_changes_layers_of_another_model_is_corrupt():
    done = compress(toy("resnet18"), [step(method="channels", ratio=0.5)], EXAMPLE)
    with pytest.raises(Corrupt, match="the artifact changes the layer 'conv1', which this model has not"):
        rebuilt(toy("cnn"), done.changes)


class Unusual(nn.Module):
    """A parameter of its own, as wide as a layer that gets narrower."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 3, 3)
        self.factor = nn.Parameter(torch.ones(1, 8, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(images) * self.factor).mean((2, 3))


def test_a_model_that_could_not_be_loaded_again_is_refused_at_once():
    with pytest.raises(BadInput, match="cannot be described by the widths of its layers"):
        compress(Unusual(), [step(method="channels", ratio=0.5)], EXAMPLE)
