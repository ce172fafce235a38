"""Prints what an image needs: pyproject.toml's dependencies, or those of one extra. `requirements.py [EXTRA]`.

Standard library only: it runs in the images' own builds, and on the machine that collects the wheels for them.
"""

import sys
import tomllib
from pathlib import Path


def requirements(extra: str | None = None) -> list[str]:
    """Return the requirements as pyproject.toml beside `images/` (or beside this file) names them."""
    here = Path(__file__).resolve().parent
    found = next(p for p in (here / "pyproject.toml", here.parent / "pyproject.toml") if p.exists())
    project = tomllib.loads(found.read_text())["project"]
    listed = project["optional-dependencies"][extra] if extra else project["dependencies"]
    if own := [r for r in listed if r.startswith(f"{project['name']}[")]:
        raise SystemExit(f"{own[0]}: an image's extra must name its packages itself")
    return list(listed)


if __name__ == "__main__":
    sys.stdout.write("\n".join(requirements(*sys.argv[1:2])) + "\n")
