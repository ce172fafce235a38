"""The mutants of a file: each is one change that somebody could make by mistake, and still a program."""

from __future__ import annotations

import ast
import json

from tests.cluster.paths import REPOSITORY
from tests.mutation.__main__ import FILES, PACKAGE
from tests.mutation.mutants import mutants

SOURCE = '''
@dataclass(frozen=True)
def f(x):
    """What 1 + 1 is."""
    if not x or x >= 10:
        raise ValueError(f"{x} + 1")
    close(x)
    return g(x, 2)
'''


def test_each_mutant_changes_one_thing_and_is_a_program() -> None:
    made = list(mutants(SOURCE))
    assert sorted(one.change for one in made) == [
        "10 becomes 11",
        "2 becomes 3",
        "GtE becomes Gt",
        "Or becomes And",
        "`close(x)` is left out",
        "`not` is left out",
        "`raise ValueError(f'{x} + 1')` is left out",
        "`return g(x, 2)` gives None",
        "the first two arguments of g change places",
    ]
    original = ast.unparse(ast.parse(SOURCE))
    assert all(one.source != original and ast.parse(one.source) for one in made)
    assert len({one.source for one in made}) == len(made)


def test_the_recorded_run_killed_more_than_thirty_of_the_files_that_are_here() -> None:
    """`make mutants` wrote it; what is left there is for people to look at."""
    recorded = json.loads((REPOSITORY / "tests/perf/results/mutants.json").read_text())
    assert recorded["killed"] >= 30
    assert recorded["killed"] + len(recorded["left"]) == recorded["mutants"]
    assert {row["file"] for row in recorded["left"]} <= set(FILES)
    assert all((REPOSITORY / PACKAGE / f"{name}.py").is_file() for name in FILES)
