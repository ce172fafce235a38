"""crds/ is what the models say, in YAML that Go reads as Python does, small enough for `kubectl apply`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from slipway.api.codegen import crd
from slipway.api.codegen.crd import KINDS, TEMPLATES, definition, render
from slipway.api.codegen.generated import stale
from slipway.install import yaml_files

REPOSITORY = Path(__file__).parents[3]
CRDS = REPOSITORY / "crds"


def test_the_committed_files_are_what_the_models_say():
    assert stale(CRDS, crd.files(), crd.HEADER) == []


@pytest.mark.parametrize("kind", [*KINDS, *TEMPLATES], ids=lambda kind: kind.kind)
def test_the_file_is_the_definition_and_is_small(kind):
    text = render(kind)
    assert yaml_files.document(text) == definition(kind)
    # `kubectl apply` stores the object, as JSON, in an annotation of at most 262144 bytes.
    assert len(json.dumps(yaml_files.document(text))) < 180_000


def test_words_that_go_reads_as_booleans_or_numbers_are_quoted():
    words = {"y": "n", "Y": "no", "1e3": "0o17", "plain": ".5", "+1": "true", "-": "~"}
    lines = yaml.dump(words, Dumper=crd._Dumper, sort_keys=False).splitlines()
    assert yaml.safe_load("\n".join(lines)) == words
    assert lines[0] == "'y': 'n'"
    assert lines[2] == "'1e3': '0o17'"
    assert lines[3] == "plain: '.5'"


def test_check_notices_a_changed_a_missing_and_a_former_file(tmp_path):
    assert crd.main(["--write", str(tmp_path)]) == 0
    assert crd.main(["--check", str(tmp_path)]) == 0
    changed = tmp_path / f"{KINDS[0].plural}.yaml"
    changed.write_text(changed.read_text().replace("int32", "int64", 1))
    (tmp_path / "former.yaml").write_text(crd.HEADER + "{}")
    (tmp_path / "somebody's own.yaml").write_text("{}")
    (tmp_path / "kustomization.yaml").unlink()
    assert crd.main(["--check", str(tmp_path)]) == 1
    assert [line.rpartition(": ")[2] for line in stale(tmp_path, crd.files(), crd.HEADER)] == [
        "no kind generates it",
        "missing",
        "differs from the models",
    ]


def test_the_command_says_what_to_do(tmp_path):
    command = [sys.executable, "-m", "slipway.api.codegen.crd", "--check", str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, env={"PYTHONPATH": "operator"}, cwd=REPOSITORY, check=False
    )
    assert result.returncode == 1
    assert f"run `python -m slipway.api.codegen.crd --write {tmp_path}`" in result.stderr
