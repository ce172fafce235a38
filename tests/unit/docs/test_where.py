"""docs/where.md answers thirty questions with files that are there, and CONTRIBUTING's map names folders that are."""

from __future__ import annotations

import re

from tests.cluster.paths import REPOSITORY

ANSWER = re.compile(r"^\| (?!who, what|---)(.+?) \| \[([^\]]+)\]\(\.\./([^)]+)\) \|$", re.MULTILINE)


def test_thirty_questions_have_a_file_each() -> None:
    answers = ANSWER.findall((REPOSITORY / "docs" / "where.md").read_text())
    assert len(answers) >= 30
    assert len({question for question, _, _ in answers}) == len(answers)
    for question, shown, path in answers:
        assert shown == path, question
        assert (REPOSITORY / path).is_file(), (question, path)


def test_the_map_of_the_tree_names_what_is_there() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    table = text[: text.index("Habits")]
    for path in re.findall(r"`((?:operator|workloads|tests|docs|charts)/[\w/]*)`", table):
        assert (REPOSITORY / path).exists(), path
