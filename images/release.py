"""Check of a release, and its notes: `release.py v0.1.0` prints the changelog of that version, or says what is missing.

Standard library only: it runs before anything is installed, in the workflow that a tag starts.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class NotReadyError(Exception):
    """Release that cannot be made; the text says what to change."""


def notes(tag: str, root: Path = ROOT) -> str:
    """Changelog of the tag's version. Raises NotReadyError.

    The version stands in code, chart and changelog, and the objects that it stores are kept for later ones.
    """
    version = tag.removeprefix("v")
    if not re.fullmatch(r"v\d+\.\d+\.\d+(-(alpha|beta|rc)\.\d+)?", tag):
        raise NotReadyError(f"{tag} is no tag of a release: v1.2.3, or v1.2.3-rc.1")
    code = (root / "operator" / "slipway" / "__init__.py").read_text()
    if f'__version__ = "{version}"' not in code:
        raise NotReadyError(f"operator/slipway/__init__.py has another version than {version}")
    chart = (root / "charts" / "slipway" / "Chart.yaml").read_text()
    if not re.search(rf"^appVersion: [\"']?{re.escape(version)}[\"']?$", chart, re.MULTILINE):
        raise NotReadyError(f"charts/slipway/Chart.yaml has another appVersion than {version}")
    if not (root / "tests" / "unit" / "api" / "stored" / f"v{version}.yaml").is_file():
        raise NotReadyError(f"tests/unit/api/stored/v{version}.yaml is not there: copy what this release stores")
    changes = (root / "CHANGELOG.md").read_text()
    found = re.search(rf"^## {re.escape(version)} *(\((.*)\))?\n(.*?)(?=^## |\Z)", changes, re.MULTILINE | re.DOTALL)
    if found is None or not found[3].strip():
        raise NotReadyError(f"CHANGELOG.md says nothing under `## {version}`")
    if found[2] == "unreleased":
        raise NotReadyError(f"CHANGELOG.md calls {version} unreleased: put the day in its place")
    return found[3].strip() + "\n"


if __name__ == "__main__":
    try:
        sys.stdout.write(notes(sys.argv[1]))
    except NotReadyError as error:
        sys.exit(f"release: {error}")
