"""`slipway install`: what it prints, and what it says to a wrong command line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.install import yaml_files
from slipway.runtime.self_signed import SECRET
from tests.cluster.paths import REPOSITORY

REGISTRY = "registry.example.com/slipway"


def install(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["install", *words])
    return done.exit_code, done.output


def test_it_prints_crds_first_and_needs_no_cluster() -> None:
    code, text = install("--registry", REGISTRY)
    assert code == 0
    kinds = [obj["kind"] for obj in yaml_files.documents(text)]
    assert kinds[:7] == ["CustomResourceDefinition"] * 6 + ["Namespace"]
    assert "registry.invalid" not in text
    assert "&id" not in text, "no anchors: kubectl diff and people read it"


def test_the_namespace_may_be_somebody_elses() -> None:
    code, text = install("--registry", REGISTRY, "-n", "given", "--no-create-namespace", "--no-crds")
    assert code == 0
    assert "slipway-system" not in text
    assert not [obj for obj in yaml_files.documents(text) if obj["kind"] in {"Namespace", "CustomResourceDefinition"}]


@pytest.mark.parametrize("more", [(), ("--high-availability",), ("--watch-namespaces", "a,b")])
def test_uninstalling_by_it_leaves_the_secret_that_running_jobs_trust(more: tuple[str, ...]) -> None:
    """The namespace went, and `slipway-status-tls` with it: the next operator was a stranger to every running job."""
    code, text = install("--registry", REGISTRY, "--no-crds", "--no-create-namespace", *more)
    removed = list(yaml_files.documents(text))
    assert code == 0
    assert not [one for one in removed if one["kind"] in {"Namespace", "Secret", "CustomResourceDefinition"}]
    (operator,) = [one for one in removed if one["kind"] == "Deployment"]
    volumes = operator["spec"]["template"]["spec"]["volumes"]
    assert SECRET in {volume.get("secret", {}).get("secretName") for volume in volumes}, "a reinstalled one mounts it"
    assert "--no-crds --no-create-namespace" in (REPOSITORY / "docs/operations.md").read_text()


def test_the_chart_owns_neither_the_secret_nor_the_namespace() -> None:
    """What is no part of a release stays at `helm uninstall`."""
    templates = (REPOSITORY / "charts/slipway/templates").glob("*.yaml")
    text = "\n".join(path.read_text() for path in templates)
    assert not re.search(r"^kind: (Secret|Namespace)$", text, re.MULTILINE)
    assert f"secretName: {SECRET}" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--registry", "team/slipway"], "somebody's at Docker Hub"),
        (["--registry", "slipway"], "somebody's at Docker Hub"),
        (["--registry", ""], "HOST"),
        (["--registry", "https://registry.example.com/x"], "HOST"),
        (["--registry", "registry.example.com/Team"], "HOST"),
        (["--registry", REGISTRY, "-n", "Slipway"], "is no name of a namespace"),
        (["--registry", REGISTRY, "--watch-namespaces", "a,,b"], "is no name of a namespace"),
        (["--registry", REGISTRY, "--watch-namespaces", "a;b"], "is no name of a namespace"),
        (["--registry", REGISTRY, "--tag", "a b"], "is no tag of an image"),
        (["--registry", REGISTRY, "--images-digest", "/nowhere/at/all"], "No such file"),
        ([], "--registry"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_told_in_words(words: list[str], says: str) -> None:
    code, text = install(*words)
    assert code == 2
    assert says in text


def test_digests_of_only_some_images_are_not_enough(tmp_path: Path) -> None:
    (tmp_path / "pushed").write_text(f"operator={REGISTRY}/operator:1@sha256:{'0' * 64}\n")
    code, text = install("--registry", REGISTRY, "--images-digest", str(tmp_path / "pushed"))
    assert code == 2
    assert "names no digest of trainer, quantizer, server" in text


@pytest.mark.parametrize(
    "registry", ["localhost/slipway", "localhost:5000/a", "127.0.0.1:5000", "r.example.com", "reg:5000/a-b/c_d"]
)
def test_a_registry_with_a_host_is_taken(registry: str) -> None:
    assert install("--registry", registry)[0] == 0
