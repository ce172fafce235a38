"""Manifests named on the command line: files, directories, standard input, Lists, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slipway.cli.app import app
from slipway.cli.manifests import ManifestError, MissingFileError, documents
from tests.cluster.paths import REPOSITORY

EXAMPLE = REPOSITORY / "manifests" / "examples" / "trainingjob.yaml"


def test_a_directory_is_read_as_kubectl_reads_it(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("kind: B")
    (tmp_path / "a.yaml").write_text("kind: A\n---\nkind: C\n---\n")
    (tmp_path / "c.json").write_text(json.dumps({"kind": "List", "items": [{"kind": "D"}, {"kind": "E"}]}))
    (tmp_path / "notes.txt").write_text("kind: no")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "x.yaml").write_text("kind: no")
    assert [one["kind"] for one in documents([str(tmp_path)])] == ["A", "C", "B", "D", "E"]


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe\x00", b"a: &x [*y", b"a: {b", b"\x00", b"a: !!python/none x"])
def test_what_is_no_yaml_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(ManifestError, match=r"bad\.yaml"):
        documents([str(tmp_path / "bad.yaml")])


def test_what_is_not_there_and_a_directory_without_manifests(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nowhere\.yaml is not there"):
        documents([str(tmp_path / "nowhere.yaml")])
    with pytest.raises(ManifestError, match=r"holds no file that ends with \.yaml"):
        documents([str(tmp_path)])


def test_a_plan_of_standard_input_is_that_of_the_file() -> None:
    by_file = CliRunner().invoke(app, ["plan", str(EXAMPLE)])
    piped = CliRunner().invoke(app, ["plan", "-"], input=EXAMPLE.read_text())
    assert (by_file.exit_code, piped.exit_code) == (0, 0)
    assert piped.output == by_file.output


def test_a_chain_in_two_files_is_one_plan() -> None:
    paths = [str(EXAMPLE.parent / name) for name in ("trainingjob.yaml", "quantizationjob.yaml")]
    result = CliRunner().invoke(app, ["plan", *paths])
    assert result.exit_code == 0, result.output
    assert "assuming that TrainingJob digits of this file succeeds" in result.output
