"""The pages in docs/ are as generated from the models, and their tables name what the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from slipway.api.codegen import docs
from slipway.api.codegen.reasons import MEANINGS
from slipway.api.common.types import Reason
from slipway.config import read_config
from tests.cluster.paths import REPOSITORY


@pytest.mark.parametrize("name", docs.files())
def test_pages_are_as_the_models_say(name: str) -> None:
    path = REPOSITORY / "docs" / name
    assert path.read_text() == docs.files()[name], "run: python -m slipway.api.codegen.docs --write docs/"


def test_every_reason_is_explained_and_no_other() -> None:
    assert set(MEANINGS) == {reason.value for reason in Reason}


def test_the_check_finds_a_page_that_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--write", str(tmp_path)]) == 0
    assert docs.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "reasons.md").write_text("old")
    assert docs.main(["--check", str(tmp_path)]) == 1
    assert "reasons.md" in capsys.readouterr().err


@pytest.mark.parametrize("kind", docs.KINDS, ids=lambda kind: kind.kind)
def test_every_field_of_the_spec_is_on_its_page(kind: Any) -> None:
    page = docs.page(kind)
    for name, field in kind.spec.model_fields.items():
        assert f"`spec.{field.alias or name}`" in page


def test_each_setting_is_in_operations_with_its_default() -> None:
    rows = re.findall(
        r"^\| (`SLIPWAY_.+?) \| (.+?) \|", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    source = (REPOSITORY / "operator" / "slipway" / "config.py").read_text()
    defaults = read_config({})
    assert set(re.findall(r'"(SLIPWAY_[A-Z_]+)"', source)) == {
        name for names, _ in rows for name in re.findall(r"SLIPWAY_\w+", names)
    }
    for names, default in rows:
        if " " in default.replace(", ", ","):
            continue  # in words: of the machine, or of the version
        values = [str(getattr(defaults, name.lower())) for name in re.findall(r"SLIPWAY_(\w+)", names)]
        words = {"all": "", "none": "", "on": "True", "off": "False"}
        spelled = [words.get(value, value) for value in default.split(", ")]
        assert spelled == [value.removesuffix(".0") for value in values], names
