"""Command line of the generators, `--write FOLDER` and `--check FOLDER`, and the comparison behind the latter."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path


def stale(folder: Path, expected: Mapping[str, str], header: str) -> list[str]:
    """Every file under `folder` that differs from what the models say, in words.

    A file that begins with the header was generated once; one that does not is somebody's own.
    """
    present = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*")) if path.is_file()}
    foreign = [name for name, text in present.items() if name not in expected and text.startswith(header)]
    problems = [f"{folder / name}: no kind generates it" for name in foreign]
    problems += [f"{folder / name}: missing" for name in expected.keys() - present.keys()]
    problems += [
        f"{folder / name}: differs from the models"
        for name in expected.keys() & present.keys()
        if expected[name] != present[name]
    ]
    return sorted(problems)


def command(
    module: str, about: str | None, expected: Mapping[str, str], header: str, arguments: list[str] | None
) -> int:
    """The command line of `python -m {module}`; returns the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", type=Path, metavar="FOLDER", help="write the files")
    what.add_argument("--check", type=Path, metavar="FOLDER", help="fail if the files are not what the models say")
    options = parser.parse_args(arguments)
    if options.write is not None:
        options.write.mkdir(parents=True, exist_ok=True)
        for name, text in expected.items():
            (options.write / name).write_text(text, encoding="utf-8")
        return 0
    problems = stale(options.check, expected, header)
    for problem in problems:
        sys.stderr.write(f"{problem}; run `python -m {module} --write {options.check}`\n")
    return 1 if problems else 0
