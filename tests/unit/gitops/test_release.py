"""What a release checks before it is made, and the workflow that makes it, as far as it can be read without running."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import __version__
from tests.cluster.images.build import IMAGES
from tests.cluster.paths import REPOSITORY

SPEC = importlib.util.spec_from_file_location("release", REPOSITORY / "images" / "release.py")
assert SPEC is not None
assert SPEC.loader is not None
release = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(release)
WORKFLOW: dict[str, Any] = yaml.safe_load((REPOSITORY / ".github" / "workflows" / "release.yaml").read_text())
TAG = f"v{__version__}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of what a release looks at, with this version released today."""
    for name in ("operator/slipway/__init__.py", "charts/slipway/Chart.yaml", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    changes = (tmp_path / "CHANGELOG.md").read_text().replace("(unreleased)", "(2026-12-01)")
    (tmp_path / "CHANGELOG.md").write_text(changes)
    (tmp_path / "tests/unit/api/stored").mkdir(parents=True)
    (tmp_path / "tests/unit/api/stored" / f"{TAG}.yaml").touch()
    return tmp_path


def test_the_notes_are_the_changelog_of_the_version(root: Path) -> None:
    found = release.notes(TAG, root)
    assert found.startswith("### ")
    assert "## 0." not in found.replace("### ", "")


def test_this_version_is_not_released_yet() -> None:
    with pytest.raises(release.NotReadyError, match="unreleased"):
        release.notes(TAG)


@pytest.mark.parametrize("tag", ["0.1.0", "v0.1", "v0.1.0.1", "v01", "latest", "v0.1.0-dev"])
def test_a_tag_that_is_none(root: Path, tag: str) -> None:
    with pytest.raises(release.NotReadyError, match="no tag of a release"):
        release.notes(tag, root)


def test_each_place_that_is_forgotten_is_named(root: Path) -> None:
    with pytest.raises(release.NotReadyError, match=r"__init__\.py has another version"):
        release.notes("v9.9.9", root)
    chart = root / "charts/slipway/Chart.yaml"
    text = chart.read_text()
    chart.write_text(text.replace("appVersion", "anotherVersion"))
    with pytest.raises(release.NotReadyError, match="appVersion"):
        release.notes(TAG, root)
    chart.write_text(text)
    (root / "tests/unit/api/stored" / f"{TAG}.yaml").unlink()
    with pytest.raises(release.NotReadyError, match="copy what this release stores"):
        release.notes(TAG, root)


def test_the_workflow_names_what_is_there_and_asks_for_no_right_that_it_does_not_use() -> None:
    text = (REPOSITORY / ".github" / "workflows" / "release.yaml").read_text()
    assert WORKFLOW["permissions"] == {"contents": "read"}
    writes = {job: found.get("permissions", {}) for job, found in WORKFLOW["jobs"].items()}
    assert {job for job, rights in writes.items() if "write" in rights.values()} == {"images", "publish"}
    for path in re.findall(r"(?:charts|images)/[\w./$]+", text):
        names = [path] if "$name" not in path else [path.replace("$name", name) for name in ("operator", "server")]
        assert all((REPOSITORY / name).exists() for name in names if "@" not in name), path
    (loop,) = set(re.findall(r"for name in ([\w ]+); do", text))
    assert loop.split() == [image.name for image in IMAGES]


def test_an_image_is_built_from_a_base_by_digest_and_from_packages_by_hash_alone() -> None:
    steps = {step.get("name"): step.get("run", "") for step in WORKFLOW["jobs"]["images"]["steps"]}
    named = list(steps)
    assert named.index("the base image as it is today, by digest") < named.index("build and push")
    assert '--build-arg "BASE=$(cat base.txt)" --build-arg REQUIRE_HASHES=1' in steps["build and push"]
    python = WORKFLOW["jobs"]["images"]["env"]["PYTHON"]
    for image in IMAGES:
        text = image.dockerfile.read_text()
        assert f"ARG BASE={python}\n" in text
        first, *others = re.findall(r"^FROM (.+)$", text, re.MULTILINE)
        assert (first, set(others)) == ("${BASE} AS wheels", {"${BASE}"})
        assert len(re.findall(r"\bpip (?:install|wheel|download)", text)) == 1, (
            "the second stage, from the wheels alone"
        )
        assert "pip install -q --no-index --find-links /wheels" in text
    assert "base.txt" in WORKFLOW["jobs"]["publish"]["steps"][-1]["run"]
