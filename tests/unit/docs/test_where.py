"""docs/where.md answers its questions with files that the tree suggests; CONTRIBUTING's map names what is there."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

from tests.cluster.paths import REPOSITORY

ANSWER = re.compile(r"^\| (?!who, what|---)(.+?) \| \[([^\]]+)\]\(\.\./([^)]+)\) \|$", re.MULTILINE)
ROOTS = ("operator/slipway", "workloads")
# Files that a stranger opens before giving up, and questions of thirty that may need more than the tree.
TRIES, MISSES = 3, 3
# Letters by which two words are the same: train, training, trainer.
STEM = 5


def answers() -> list[tuple[str, str, str]]:
    """(question, text of the link, path) of each row."""
    return ANSWER.findall((REPOSITORY / "docs" / "where.md").read_text())


def stems(text: str) -> set[str]:
    """Beginnings of a text's words, of three letters at least."""
    return {word.removesuffix("s")[:STEM] for word in re.findall(r"[a-z0-9]+", text.lower()) if len(word) > 2}


@cache
def tree() -> dict[str, tuple[set[str], set[str]]]:
    """Stems of each module's path, and of its file's name, by path."""
    paths = [path for root in ROOTS for path in (REPOSITORY / root).rglob("*.py") if path.name != "__init__.py"]
    texts = [path.relative_to(REPOSITORY).as_posix() for path in paths]
    return {
        path: (stems(re.sub(r"[_/]", " ", path)), stems(path.rpartition("/")[2].replace("_", " "))) for path in texts
    }


def guesses(question: str) -> Iterator[str]:
    """Files by how well their paths fit a question: rare words count more, those of a file's own name twice."""
    asked, words = stems(question), tree()
    known = Counter(stem for path, _ in words.values() for stem in path)

    def fit(path: str) -> float:
        whole, own = words[path]
        return sum(math.log(len(words) / known[stem]) * (1 + (stem in own)) for stem in asked & whole)

    # Of equals the answer comes last: it has to be the better guess.
    right = {path for text, _, path in answers() if text == question}
    return iter(sorted(words, key=lambda path: (-fit(path), path in right)))


def test_thirty_questions_have_a_file_each() -> None:
    rows = answers()
    assert len(rows) >= 30
    assert len({question for question, _, _ in rows}) == len(rows)
    for question, shown, path in rows:
        assert shown == path, question
        assert (REPOSITORY / path).is_file(), (question, path)


def test_the_tree_alone_suggests_the_files() -> None:
    rows = answers()
    missed = [
        (question, path, first)
        for question, _, path in rows
        if path not in (first := [guess for guess, _ in zip(guesses(question), range(TRIES), strict=False)])
    ]
    assert len(missed) * 30 <= MISSES * len(rows), missed


def test_a_name_that_says_nothing_is_not_suggested() -> None:
    """The guesses see names: the same question finds no file that is called by another word."""
    first = next(guesses("gives way to a gang of higher priority: preemption"))
    assert first == "operator/slipway/queueing/preemption.py"
    assert "workloads/train/loop.py" not in [
        guess for guess, _ in zip(guesses("an Adam step"), range(TRIES), strict=False)
    ]


def test_the_map_of_the_tree_names_what_is_there() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    table = text[: text.index("Habits")]
    for path in re.findall(r"`((?:operator|workloads|tests|docs|charts)/[\w/]*)`", table):
        assert (REPOSITORY / path).exists(), path
