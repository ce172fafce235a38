"""Writes images/hashes/NAME-ARCHITECTURE.txt: what the image NAME will hold, by version and hash: `hashed.py NAME`.

Pip resolves it without installing, against this machine's index, in the lock's versions: so it runs with the Python
version of the image, on a machine of its architecture. Standard library only. A package that has no wheel is named on
stderr: its source's hash is fixed, and what its build takes from the index is not.
"""

import json
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def extras(name: str, root: Path = ROOT) -> list[str]:
    """Extras of pyproject.toml that the image's Dockerfile collects."""
    text = (root / "images" / name / "Dockerfile").read_text()
    (called,) = re.findall(rf"wheels\.sh {re.escape(name)} (.+?)(?: \\)?$", text, re.MULTILINE)
    defaults = dict(re.findall(r'^ARG (\w+)="(.*)"$', text, re.MULTILINE))
    return " ".join(defaults[word[1:]] if word.startswith("$") else word for word in called.split()).split()


def resolved(requirements: list[str], lock: Path) -> list[dict[str, Any]]:
    """Packages of pip's report, with those that they need. Raises SystemExit with pip's words."""
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*pip, "-c", str(lock), *requirements], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip cannot resolve it: {done.stderr.strip()}")
    found: list[dict[str, Any]] = json.loads(done.stdout)["install"]
    return found


def line(package: dict[str, Any]) -> str:
    """Requirement of a package of the report. Raises SystemExit where pip knows no hash."""
    name, version = package["metadata"]["name"], package["metadata"]["version"]
    digest = package["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
    if not digest:
        raise SystemExit(f"{name}=={version}: pip knows no sha256 of {package['download_info']['url']}")
    return f"{re.sub('[-_.]+', '-', name).lower()}=={version} --hash=sha256:{digest}"


def write(name: str, root: Path = ROOT) -> Path:
    """Resolve an image's packages, and write the file. Raises SystemExit."""
    listed = subprocess.run(
        [sys.executable, str(root / "images" / "requirements.py"), *extras(name, root)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    packages = resolved(listed, root / "requirements.lock")
    for package in packages:
        if not package["download_info"]["url"].endswith(".whl"):
            sys.stderr.write(f"{package['metadata']['name']} has no wheel here: it is built from its source\n")
    machine = platform.machine()
    target = root / "images" / "hashes" / f"{name}-{ARCHITECTURES.get(machine, machine)}.txt"
    target.write_text("\n".join(sorted(line(package) for package in packages)) + "\n")
    return target


if __name__ == "__main__":
    sys.stdout.write(f"{write(sys.argv[1])}\n")
