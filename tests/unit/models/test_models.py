"""The registry: shapes, names, equal initialisation."""

import pytest
import torch

from workloads import models
from workloads.errors import BadInput
from workloads.models import Images


def build(name: str, images: Images, width: int = 8) -> torch.nn.Module:
    return models.build(name, models.arguments_for(name, images, width))


IMAGES = [Images(1, 8, 8, 10), Images(3, 32, 32, 4), Images(1, 28, 28, 2), Images(3, 71, 93, 5)]


@pytest.mark.parametrize(
    ("name", "images"),
    [*(("cnn", images) for images in IMAGES), *(("resnet18", images) for images in IMAGES), ("resnet50", IMAGES[3])],
)
def test_logits_of_any_image_size_and_gradients_everywhere(name: str, images: Images) -> None:
    model = build(name, images)
    logits = model(torch.randn(2, images.channels, images.height, images.width))
    assert logits.shape == (2, images.classes)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "parameters", "entries"), [("resnet18", 11_689_512, 122), ("resnet50", 25_557_032, 320)]
)
def test_resnets_have_torchvisions_size_and_names(name: str, parameters: int, entries: int) -> None:
    model = build(name, Images(3, 224, 224, 1000))
    state = model.state_dict()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert len(state) == entries
    expected = ["conv1.weight", "bn1.running_var", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight"]
    expected += ["layer4.1.bn2.num_batches_tracked", "fc.bias"]
    assert set(expected) <= set(state)
    assert state["conv1.weight"].shape == (64, 3, 7, 7)


def test_small_images_keep_their_pixels() -> None:
    model = build("resnet18", Images(3, 32, 32, 10))
    assert model.state_dict()["conv1.weight"].shape == (64, 3, 3, 3)
    assert model.layer1(model.maxpool(model.conv1(torch.zeros(1, 3, 32, 32)))).shape[-1] == 32


@pytest.mark.parametrize("name", ["cnn", "resnet18"])
def test_the_seed_fixes_the_initial_weights(name: str) -> None:
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(build(name, Images(1, 8, 8, 10)).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_unknown_names_are_refused_with_the_choice() -> None:
    with pytest.raises(BadInput, match="cnn, resnet18, resnet50"):
        models.build("vgg", {})
