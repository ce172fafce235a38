"""KUBE_CONTEXT and SLIPWAY_IMAGE_REGISTRY: what cannot be used is said in words before anything is built."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from tests.cluster.base import ClusterError
from tests.cluster.existing import ExistingCluster
from tests.cluster.images import registry
from tests.cluster.paths import REPOSITORY
from tests.ports import free_port


def context(name: str, server: str) -> dict[str, object]:
    """A kubeconfig of one context."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": f"of-{name}"}}],
    }


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    return f"127.0.0.1:{free_port()}"


class Handler(BaseHTTPRequestHandler):
    """Answers /version as an API server and /v2/ as a registry."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        known = {"/v2/": b"{}", "/version": b'{"major":"1","minor":"30","gitVersion":"v1.30.0"}'}
        body = known.get(self.path.partition("?")[0], b"{}")
        self.send_response(200 if self.path.partition("?")[0] in known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def somebody() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()


def tell(tmp_path: Path, action: str, **environment: str) -> tuple[int, str]:
    """Run `python -m tests.cluster ACTION` as make does; its exit code and its words."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLIPWAY_", "KUBE"))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster", action],
        cwd=REPOSITORY,
        env=clean | {"SLIPWAY_CACHE": str(tmp_path / "cache"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert not list((tmp_path / "cache").glob("wheels*")), "nothing was built for a cluster that cannot be used"
    return done.returncode, done.stderr


@pytest.mark.parametrize("action", ["demo", "images", "check"])
def test_an_unknown_context_is_told_with_those_that_are_there(tmp_path: Path, nobody: str, action: str) -> None:
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(context("staging", f"http://{nobody}")))
    code, words = tell(tmp_path, action, KUBECONFIG=str(config), KUBE_CONTEXT="prod")
    assert code == 1
    assert f"error: KUBE_CONTEXT=prod is no context of {config}, which has staging" in words
    assert "Traceback" not in words


def test_a_server_that_does_not_answer_is_told(tmp_path: Path, nobody: str) -> None:
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(context("staging", f"http://{nobody}")))
    code, words = tell(tmp_path, "demo", KUBECONFIG=str(config), KUBE_CONTEXT="staging")
    assert code == 1
    assert "error: KUBE_CONTEXT=staging does not answer: " in words
    assert "refused" in words


def test_no_registry_is_told_before_images_are_built(tmp_path: Path, somebody: str) -> None:
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(context("staging", f"http://{somebody}")))
    code, words = tell(tmp_path, "images", KUBECONFIG=str(config), KUBE_CONTEXT="staging")
    assert code == 1
    assert "error: context staging: set SLIPWAY_IMAGE_REGISTRY to a registry that you may push to" in words


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NOBODY/slipway", "does not answer"),
        ("team/slipway", "somebody's at Docker Hub"),
        ("https://registry.example.com/x", "HOST[:PORT][/PATH] is needed"),
    ],
)
def test_a_registry_that_is_none_is_told(tmp_path: Path, somebody: str, nobody: str, name: str, says: str) -> None:
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(context("staging", f"http://{somebody}")))
    named = name.replace("NOBODY", nobody)
    told = {"KUBECONFIG": str(config), "KUBE_CONTEXT": "staging", "SLIPWAY_IMAGE_REGISTRY": named}
    code, words = tell(tmp_path, "demo", **told)
    assert code == 1
    assert says in words
    assert "SLIPWAY_IMAGE_REGISTRY" in words


def test_push_without_a_registry_says_how(tmp_path: Path) -> None:
    code, words = tell(tmp_path, "push")
    assert code == 1
    assert "make push REGISTRY=registry.example.com/slipway" in words


def test_a_context_and_a_registry_that_answer_are_enough(
    tmp_path: Path, somebody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(context("staging", f"http://{somebody}")))
    monkeypatch.setenv("KUBECONFIG", str(config))
    monkeypatch.setenv("SLIPWAY_IMAGE_REGISTRY", f"{somebody}/slipway/")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    cluster = ExistingCluster("staging")
    cluster.check()
    assert yaml.safe_load(cluster.kubeconfig.read_text())["current-context"] == "staging"


def test_contexts_of_several_files_are_merged(
    tmp_path: Path, somebody: str, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, server in (("one", nobody), ("two", somebody)):
        (tmp_path / name).write_text(yaml.safe_dump(context(name, f"http://{server}")))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'one'}:{tmp_path / 'two'}")
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path / "cache"))
    cluster = ExistingCluster("two")
    cluster.up()
    merged = yaml.safe_load(cluster.kubeconfig.read_text())
    assert [c["name"] for c in merged["contexts"]] == ["two"]
    assert merged["users"][0]["user"] == {"token": "of-two"}
    assert cluster.kubeconfig.stat().st_mode & 0o077 == 0, "it holds what logs one in"


@pytest.mark.parametrize(
    ("environment", "insecure"),
    [
        ({"SLIPWAY_IMAGE_REGISTRY": "localhost:5000/slipway"}, True),
        ({"SLIPWAY_IMAGE_REGISTRY": "127.0.0.1:5000"}, True),
        ({"SLIPWAY_IMAGE_REGISTRY": "registry.example.com/slipway"}, False),
        ({"SLIPWAY_IMAGE_REGISTRY": "registry.example.com/x", "SLIPWAY_REGISTRY_INSECURE": "1"}, True),
    ],
)
def test_only_this_machines_registry_is_reached_without_tls_unasked(
    environment: dict[str, str], insecure: bool
) -> None:
    found = registry.named(environment)
    assert found is not None
    assert found.insecure is insecure


def test_names_in_a_registry_and_here() -> None:
    target = registry.Registry("registry.example.com/ml")
    assert target.reference("localhost/slipway/trainer:abc") == "registry.example.com/ml/trainer:abc"
    assert target.reference("localhost/slipway/trainer:abc", "0.1.0") == "registry.example.com/ml/trainer:0.1.0"
    assert target.local("registry.example.com/ml/trainer:abc") == "localhost/slipway/trainer:abc"
    with pytest.raises(ClusterError, match="Docker Hub"):
        registry.named({"SLIPWAY_IMAGE_REGISTRY": "slipway"})
