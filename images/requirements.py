"""Prints what an image needs: pyproject.toml's dependencies, `core`, or those of extras: `requirements.py [EXTRA ...]`.

Standard library only: it runs in the images' own builds, and on the machine that collects the wheels for them.
"""

import sys
import tomllib
from pathlib import Path


def requirements(extras: list[str]) -> list[str]:
    """Return the requirements as pyproject.toml beside `images/` (or beside this file) names them."""
    here = Path(__file__).resolve().parent
    found = next(p for p in (here / "pyproject.toml", here.parent / "pyproject.toml") if p.exists())
    project = tomllib.loads(found.read_text())["project"]
    optional = {**project["optional-dependencies"], "core": project["dependencies"]}
    groups = [optional[extra] for extra in extras or ["core"]]
    listed = [requirement for group in groups for requirement in group]
    if own := [r for r in listed if r.startswith(f"{project['name']}[")]:
        raise SystemExit(f"{own[0]}: an image's extra must name its packages itself")
    return listed


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(sys.argv[1:])) + "\n")
