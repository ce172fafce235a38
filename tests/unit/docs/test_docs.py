"""What README and docs/ say is so: pages are as generated, YAML is valid, links lead somewhere, commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway.api import docs
from slipway.api.common import API_VERSION, Reason
from slipway.api.inferenceservice import spec_problems as service_problems
from slipway.api.quantizationjob import spec_problems as quantization_problems
from slipway.api.reasons import MEANINGS
from slipway.api.trainingjob import spec_problems as training_problems
from slipway.config import read_config
from tests.cluster.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
CHECKS = {
    "TrainingJob": training_problems,
    "QuantizationJob": quantization_problems,
    "InferenceService": service_problems,
}
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(language: str) -> list[Any]:
    found = [(page, block) for page in PAGES for kind, block in BLOCK.findall(page.read_text()) if kind == language]
    return [pytest.param(page, text, id=f"{page.stem}-{number}") for number, (page, text) in enumerate(found)]


@pytest.mark.parametrize("name", docs.files())
def test_pages_are_as_the_models_say(name: str) -> None:
    path = REPOSITORY / "docs" / name
    assert path.read_text() == docs.files()[name], "run: python -m slipway.api.docs --write docs/"


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


@pytest.mark.parametrize(("page", "text"), _blocks("yaml"))
def test_yaml_is_valid(page: Path, text: str) -> None:
    documents = list(yaml.safe_load_all(text))
    assert documents
    for document in documents:
        if isinstance(document, dict) and document.get("apiVersion") == API_VERSION:
            _, problems = CHECKS[document["kind"]](document["metadata"]["name"], document["spec"])
            assert not problems


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        root = REPOSITORY if target.startswith("/") else page.parent
        assert (root / target.lstrip("/")).exists(), target


@pytest.mark.parametrize(("page", "text"), _blocks("sh"))
def test_commands_name_what_is_there(page: Path, text: str) -> None:
    targets = re.findall(r"^make (\w+)", text, re.MULTILINE)
    makefile = (REPOSITORY / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)
    for word in re.findall(r"(?:^|\s)((?:manifests|crds|tests|images)[/\w.-]*)", text):
        assert (REPOSITORY / word).exists(), word


def test_the_settings_in_operations_are_settings() -> None:
    table = re.findall(
        r"^\| `(SLIPWAY_\w+)` \| (\S+)", (REPOSITORY / "docs" / "operations.md").read_text(), re.MULTILINE
    )
    source = (REPOSITORY / "operator" / "slipway" / "config.py").read_text()
    defaults = read_config({})
    assert table
    for name, default in table:
        assert f'"{name}"' in source
        value = str(getattr(defaults, name.removeprefix("SLIPWAY_").lower()))
        assert {"all": "", "none": ""}.get(default, default) == value.removesuffix(".0")
