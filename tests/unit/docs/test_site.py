"""The documents as a site: it builds with all links checked, and what the index and the symptoms name is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from slipway.api.common.types import Reason
from tests.cluster.paths import REPOSITORY
from tests.unit.docs.blocks import section
from tests.unit.docs.pictures import PICTURES

DOCS = REPOSITORY / "docs"
# What is in backticks, of one word in capitals as reasons are, and is no reason.
OTHERS = {"ReadWriteOnce", "ReadWriteMany", "Ready"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(target)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == 0, done.stderr
    return target


def test_the_site_builds_and_no_link_leads_out_of_it_by_a_path(site: Path) -> None:
    page = (site / "performance" / "index.html").read_text()
    assert "/blob/main/tests/perf/results/serve.json" in page
    outside = [
        (str(file.relative_to(site)), link)
        for file in site.rglob("*.html")
        for link in re.findall(r'<a[^>]* href="([^"]*)"', file.read_text())
        if link.startswith("/") or "../tests" in link or "../manifests" in link
    ]
    assert not [one for one in outside if one[0] != "404.html"]


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    page = (site / "index.html").read_text()
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="(https?://[^"]*)"', page)
    assert not [address for address in loaded if "git.example.com" not in address]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_the_script_draws(name: str) -> None:
    drawn = PICTURES[name]()
    assert (DOCS / "pictures" / name).read_text() == drawn, "run: python -m tests.unit.docs.pictures"
    root = ElementTree.fromstring(drawn)
    width, height = (int(number) for number in root.attrib["viewBox"].split()[2:])
    for text in root.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 < int(text.attrib["x"]) < width
        assert 0 < int(text.attrib["y"]) < height
    assert f"(pictures/{name})" in (DOCS / "concepts.md").read_text()


def test_every_page_has_its_place_in_the_navigation() -> None:
    nav = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]
    named = {page for group in nav for pages in group.values() for page in pages}
    assert named == {path.name for path in DOCS.glob("*.md")}


def test_symptoms_name_reasons_that_there_are() -> None:
    named = set(re.findall(r"`([A-Z][a-z]+[A-Za-z]*)`", (DOCS / "troubleshooting.md").read_text()))
    assert named - OTHERS <= {reason.value for reason in Reason}


def test_every_reason_has_a_row_that_says_what_now() -> None:
    table = section(DOCS / "troubleshooting.md", "## Every reason, and what now")
    rows = re.findall(r"^\| (`.+?`) \| (.+) \|$", table, re.MULTILINE)
    named = [reason for names, _ in rows for reason in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(reason.value for reason in Reason)
    assert len(rows) == len(table[table.index("|---") :].strip().splitlines()) - 1, "a row without a reason"
    assert all(len(words) > 5 for _, words in rows)
