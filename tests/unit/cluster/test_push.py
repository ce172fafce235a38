"""Pushing: the commands for Docker and buildah, written down by programs that do nothing else, and the words for what
cannot be. That images arrive and run: tests/e2e/installing/test_strangers.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway import __version__
from tests.cluster.base import ClusterError
from tests.cluster.images import buildah, docker, push
from tests.cluster.images.registry import Registry

DIGEST = "sha256:" + "a" * 64
DOCKER = """#!/bin/sh
echo "docker $*" >> {log}
for word in "$@"; do
  case "$word" in
    --metadata-file=*) echo '{{"containerimage.digest": "{digest}"}}' > "${{word#--metadata-file=}}";;
  esac
done
if [ "$1 $2" = "image inspect" ]; then
  echo '["other.example.com/operator@sha256:0", "registry.example.com/ml/operator@{digest}"]'
fi
"""
UNSHARE = """#!/bin/sh
echo "$*" >> {log}
for word in "$@"; do case "$word" in --digestfile=*) echo {digest} > "${{word#--digestfile=}}";; esac; done
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the programs write down how they were called."""
    for name, script in (("docker", DOCKER), ("unshare", UNSHARE)):
        (tmp_path / name).write_text(script.format(log=tmp_path / "log", digest=DIGEST))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SLIPWAY_IMAGE_REGISTRY", "registry.example.com/ml")
    monkeypatch.setattr(Registry, "ping", lambda self: None)
    return tmp_path / "log"


def test_docker_pushes_under_the_registrys_name_and_tells_the_digest(log: Path) -> None:
    target = "registry.example.com/ml/operator:0.1.0"
    assert docker.push("localhost/slipway/operator:abc", target, insecure=False) == DIGEST
    tag, sent, _ = log.read_text().splitlines()
    assert tag == f"docker tag localhost/slipway/operator:abc {target}"
    assert sent == f"docker push --quiet {target}"


def test_buildah_pushes_with_tls_unless_the_registry_has_none(log: Path) -> None:
    target = "registry.example.com/ml/operator:0.1.0"
    assert buildah.push("localhost/slipway/operator:abc", target, insecure=False) == DIGEST
    assert buildah.push("localhost/slipway/operator:abc", target, insecure=True) == DIGEST
    safe, unsafe = log.read_text().splitlines()
    assert safe.endswith(f" localhost/slipway/operator:abc docker://{target}")
    assert "--tls-verify=false" not in safe
    assert " --tls-verify=false " in unsafe


def test_two_platforms_are_one_image_by_buildx(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "builder", lambda: docker)
    pushed = push.push(platforms="linux/amd64, linux/arm64")
    assert pushed["server"] == f"registry.example.com/ml/server:{__version__}@{DIGEST}"
    assert list(pushed) == ["operator", "trainer", "quantizer", "server"]
    first = log.read_text().splitlines()[0]
    assert first.startswith("docker buildx build --push --platform=linux/amd64,linux/arm64 ")
    assert "--build-context" not in first, "the wheels here are of this machine's platform"


def test_buildah_says_that_it_builds_for_this_machine_only(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "builder", lambda: buildah)
    monkeypatch.setattr(push.platform, "machine", lambda: "x86_64")
    with pytest.raises(ClusterError, match="only linux/amd64 is built here"):
        push.push(platforms="linux/amd64,linux/arm64")
    assert not log.exists(), "before anything was built"
