"""Functions as programs: what travels runs as it ran here, and what cannot travel is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.client.errors import FunctionError
from slipway.client.function import Function

WIDTH = 7


def run(function: Function, tmp_path: Path) -> str:
    """What the command prints, run as a launcher would."""
    words = [sys.executable, *function.command()[1:]]
    done = subprocess.run(
        words, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(**given: Any) -> None:
    import json as own_json

    def inner(value: Any) -> str:
        return own_json.dumps(value, sort_keys=True)

    print(inner(given), [inner(x) for x in (1,)], __name__)


def with_a_class(epochs: int = 3) -> None:
    from dataclasses import dataclass

    @dataclass
    class Point:
        x: int

    total = 0
    for number in range(epochs):
        total += Point(number).x
    try:
        print(f"{total=}", dict.fromkeys("a", 1))
    except ValueError as error:
        print(error)


def test_it_runs_with_its_arguments_from_a_file(tmp_path: Path) -> None:
    text = run(Function(shown, {"b": [1, 2.5, None, True], "a": "quote ' and \\ and \n é"}), tmp_path)
    assert json.loads(text.split("} [")[0] + "}") == {"a": "quote ' and \\ and \n é", "b": [1, 2.5, None, True]}
    assert text.rstrip().endswith("__main__")
    assert run(Function(with_a_class, {"epochs": 4}), tmp_path).split() == ["total=6", "{'a':", "1}"]


def test_a_traceback_names_a_file_that_is_there(tmp_path: Path) -> None:
    def fails() -> None:
        raise RuntimeError("on purpose")

    words = [sys.executable, *Function(fails).command()[1:]]
    done = subprocess.run(words, env={"TMPDIR": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "function.py" in done.stderr
    assert 'raise RuntimeError("on purpose")' in done.stderr


def uses_a_global() -> None:
    print(WIDTH)


def uses_a_module() -> None:
    print(json.dumps(1))


def deep() -> None:
    def inner() -> list[int]:
        return [WIDTH for _ in range(2)]

    print(inner())


def has_a_default(width: int = WIDTH) -> None:
    print(width)


async def waits() -> None:
    print(1)


def yields() -> Any:
    yield 1


def around() -> Callable[[], None]:
    kept = 3

    def inner() -> None:
        print(kept)

    return inner


class Trainer:
    """A thing with a method."""

    def train(self) -> None:
        print(self)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (uses_a_global, "WIDTH"),
        (uses_a_module, "json"),
        (deep, "WIDTH"),
        (has_a_default, "WIDTH"),
        (lambda: None, "lambda"),
        (around(), "keeps kept"),
        (waits, "coroutine"),
        (yields, "generator"),
        (Trainer().train, "no function"),
        (Trainer, "no function"),
        (print, "no function"),
    ],
)
def test_what_cannot_travel_is_refused_by_name(call: Callable[..., Any], says: str) -> None:
    with pytest.raises(FunctionError, match=says):
        Function(call).command()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [({"width": 1}, "unexpected keyword"), ({"epochs": object()}, "JSON"), ({"epochs": float("nan")}, "JSON")],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(FunctionError, match=says):
        Function(with_a_class, arguments).command()


def test_one_that_is_too_long_is_refused() -> None:
    with pytest.raises(FunctionError, match="characters"):
        Function(shown, {"data": "x" * 200_000}).command()


def test_what_exec_made_is_refused() -> None:
    space: dict[str, Any] = {}
    exec("def made():\n    print(1)\n", space)
    with pytest.raises(FunctionError, match="cannot be read"):
        Function(space["made"]).command()


@settings(max_examples=200)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
        max_leaves=8,
    )
)
def test_arguments_arrive_as_they_were(value: Any) -> None:
    got: list[Any] = []

    program = Function(shown, {"value": value}).program().replace("def shown(", "def other(")
    exec(
        compile(program, "function.py", "exec"),
        {"__name__": "__main__", "shown": lambda **given: got.append(given["value"])},
    )
    assert got == [value]
