"""No name that a reader types or a manifest pulls is one that a stranger may own: packages, images, addresses."""

from __future__ import annotations

import tomllib

import pytest

from slipway import __version__, images
from slipway.config import read_config
from tests.cluster.paths import REPOSITORY
from tests.unit.docs.names import foreign, tracked

ITSELF = "tests/unit/docs/test_names.py"


def test_no_tracked_file_names_what_somebody_else_owns() -> None:
    found = {}
    for path in tracked():
        name = str(path.relative_to(REPOSITORY))
        if name != ITSELF and (names := foreign(name, path.read_text(errors="replace"))):
            found[name] = names
    assert found == {}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("README.md", "`pip install 'slipway[cli]'` brings it", "slipway"),
        ("docs/x.md", "pip install slipway", "slipway"),
        ("docs/x.md", "pip install -q slipway-operator==0.1.0", "slipway-operator"),
        ("workloads/x.py", 'REMEDY = "install slipway[quantize], or another image"', "slipway[q"),
        ("pyproject.toml", 'dev = ["slipway[cli]"]', "slipway[c"),
        ("manifests/base/x.yaml", "        image: slipway/operator", "slipway/operator"),
        ("manifests/base/x.yaml", "  value: slipway/trainer:0.1.0", "slipway/trainer"),
        ("operator/slipway/x.py", 'image="slipway/server"', "slipway/server"),
        ("charts/slipway/values.yaml", "image: quay.io/slipway/operator:1", "quay.io/slipway/operator:1"),
        ("operator/slipway/x.py", '"image": "busybox"', "busybox"),
        ("docs/x.md", "kubectl run x --image=busybox", "busybox"),
        ("images/x/Dockerfile", "FROM python:3.11", "python:3.11"),
        ("images/x/Dockerfile", "ARG BASE=slipway-base", "slipway-base"),
        ("images/x/Dockerfile", "#   docker build -f x -t slipway .", "slipway"),
        ("docs/x.md", "helm install slipway oci://ghcr.io/slipway/charts", "ghcr.io"),
        ("docs/x.md", "https://slipway.dev/install.sh", "slipway.dev"),
        ("docs/x.md", "resources: [github.com/ORGANISATION/slipway/manifests]", "ORGANISATION"),
        ("docs/x.md", "git@github.com:slipway/slipway.git", "slipway"),
        (".github/workflows/x.yaml", "- uses: somebody/kubectl@v1", "somebody"),
        ("docs/x.md", "go install slipway.dev/cli@latest", "slipway.dev/cli"),
        ("docs/x.md", "docker pull slipway-trainer", "slipway-trainer"),
    ],
)
def test_a_strangers_name_is_found(name: str, text: str, says: str) -> None:
    assert any(one.startswith(says) or says.startswith(one) for one in foreign(name, text)), foreign(name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("README.md", "pip install '.[serve]'"),
        ("README.md", "pip install -e '.[dev]' and `pip install .`"),
        ("workloads/x.py", '"pip install torch-pruning, or use the image of this release"'),
        ("pyproject.toml", 'litert = ["slipway-operator[quantize]"]'),
        ("manifests/x.yaml", "image: registry.invalid/slipway/operator:0.1.0"),
        ("docs/x.md", "image: registry.example.com/slipway/operator@sha256:00"),
        ("docs/x.md", "localhost/slipway/operator:1, localhost:5000/slipway/trainer:1"),
        ("images/x/Dockerfile", "ARG BASE=docker.io/library/python:3.11-slim-bookworm\nFROM ${BASE}"),
        ("docs/x.md", "https://git.example.com/a http://127.0.0.1:1 https://slipway-status.slipway-system.svc:8443"),
        ("docs/x.md", "operator/slipway/runtime/servers/server.py and slipway/api"),
    ],
)
def test_a_name_of_ours_is_left_alone(name: str, text: str) -> None:
    assert foreign(name, text) == []


def test_what_is_not_set_cannot_be_pulled() -> None:
    config = read_config({})
    for image in (config.trainer_image, config.quantizer_image, config.server_image):
        host, _, rest = image.partition("/")
        assert host.endswith(".invalid"), "RFC 2606: no resolver knows it"
        assert rest.endswith(f":{__version__}")


def test_an_image_is_named_by_tag_or_digest() -> None:
    digest = "sha256:" + "0" * 64
    assert images.reference("trainer", "localhost:5000/a", "1") == "localhost:5000/a/trainer:1"
    assert images.reference("trainer", "localhost:5000/a", digest) == f"localhost:5000/a/trainer@{digest}"


def test_the_release_is_the_same_everywhere() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == __version__
    assert project["name"] != "slipway", "somebody else's at PyPI"
    assert "Private :: Do Not Upload" in project["classifiers"]
