"""`slipway install`: what it prints, and what it says to a wrong command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.install import yaml_files

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
