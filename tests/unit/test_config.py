"""Settings: what they mean together, and the words for what makes no sense."""

from __future__ import annotations

import pytest

from slipway.config import ConfigError, read_config
from slipway.reconcile.podspec import for_pod

OWN = "SLIPWAY_OPERATOR_IMAGE"


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [
        ("", ()),
        ("  ", ()),
        ("models", ("models",)),
        ("a,b", ("a", "b")),
        (" a , b ", ("a", "b")),
        ("b,a,b", ("b", "a")),
    ],
)
def test_namespaces_are_a_list(text: str, namespaces: tuple[str, ...]) -> None:
    assert read_config({"SLIPWAY_NAMESPACES": text}).namespaces == namespaces
    assert read_config({"SLIPWAY_NAMESPACE": text}).namespaces == namespaces, "its old name never comes to mean all"


@pytest.mark.parametrize("text", [",", "a,", ",a", "a,,b", "A", "a_b", "a b", "*", "-a", "x" * 64, "a;b", "a/b"])
def test_a_list_that_names_no_namespace_does_not_mean_all_of_them(text: str) -> None:
    with pytest.raises(ConfigError, match=r"SLIPWAY_NAMESPACES: .* is no namespace"):
        read_config({"SLIPWAY_NAMESPACES": text})


def test_two_names_for_one_setting_have_to_agree() -> None:
    with pytest.raises(ConfigError, match="do not agree"):
        read_config({"SLIPWAY_NAMESPACES": "a", "SLIPWAY_NAMESPACE": "b"})
    assert read_config({"SLIPWAY_NAMESPACES": "a", "SLIPWAY_NAMESPACE": "a"}).namespaces == ("a",)


def test_the_status_url_is_of_the_service_in_the_pods_namespace() -> None:
    service = {"SLIPWAY_STATUS_SERVICE": "slipway-status-a", "SLIPWAY_POD_NAMESPACE": "team-a"}
    assert read_config(service).status_url == "https://slipway-status-a.team-a.svc:8443"
    assert read_config(service | {"SLIPWAY_STATUS_URL": "https://x:1/"}).status_url == "https://x:1"
    assert read_config({"SLIPWAY_POD_NAMESPACE": "team-a"}).status_url == ""
    with pytest.raises(ConfigError, match="SLIPWAY_POD_NAMESPACE"):
        read_config({"SLIPWAY_STATUS_SERVICE": "slipway-status"})


@pytest.mark.parametrize(
    ("own", "trainer"),
    [
        ("", "registry.invalid/slipway/trainer:0.1.0"),
        ("registry.invalid/slipway/operator:0.1.0", "registry.invalid/slipway/trainer:0.1.0"),
        ("registry.example.com/slipway/operator:0.2.0", "registry.example.com/slipway/trainer:0.2.0"),
        ("localhost:5000/operator:1", "localhost:5000/trainer:1"),
        ("localhost:5000/a/b/operator", "localhost:5000/a/b/trainer:0.1.0"),
        ("localhost:5000/operator@sha256:" + "0" * 64, "localhost:5000/trainer:0.1.0"),
        ("localhost:5000/operator:7@sha256:" + "0" * 64, "localhost:5000/trainer:7"),
    ],
)
def test_images_without_a_name_are_beside_the_operators(own: str, trainer: str) -> None:
    assert read_config({OWN: own}).trainer_image == trainer
    unset = {"SLIPWAY_TRAINER_IMAGE": "registry.invalid/slipway/trainer:0.1.0"}
    assert read_config({OWN: own} | unset).trainer_image == trainer
    assert read_config({OWN: own, "SLIPWAY_TRAINER_IMAGE": "mine:1"}).trainer_image == "mine:1"


@pytest.mark.parametrize("own", ["localhost:5000/slipway-operator:1", "operator:1"])
def test_an_image_of_another_name_says_what_to_set(own: str) -> None:
    with pytest.raises(ConfigError, match=r"does not end in /operator, .* set SLIPWAY_TRAINER_IMAGE"):
        read_config({OWN: own})
    given = {f"SLIPWAY_{name}_IMAGE": "mine:1" for name in ("TRAINER", "QUANTIZER", "SERVER")}
    assert read_config({OWN: own} | given).server_image == "mine:1"


def test_pods_with_an_accelerator_have_an_image_of_their_own_where_one_is_named() -> None:
    config = read_config({"SLIPWAY_SERVER_GPU_IMAGE": "registry.example.com/server-gpu:1"})
    assert config.trainer_gpu_image == ""
    asked = {"cpu": "2", "nvidia.com/gpu": 1}
    assert for_pod("cpu:1", config.server_gpu_image, asked) == "registry.example.com/server-gpu:1"
    assert for_pod("cpu:1", config.server_gpu_image, {"cpu": "2", "nvidia.com/gpu": 0}) == "cpu:1"
    assert for_pod("cpu:1", config.trainer_gpu_image, asked) == "cpu:1"
