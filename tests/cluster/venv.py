"""Makes the virtual environment that everything else runs in: `python3 tests/cluster/venv.py` prints its path.

Standard library only, since it is the first thing to run on a fresh machine. The environment holds the locked
dependencies and not the project, so that every clone with the same lock shares one; its name carries the lock's hash.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
OPERATORS = ROOT / "images" / "torchvision_operators.py"
KEPT = 2
STAMP = "complete"


def cache() -> Path:
    """Where everything that outlives a run is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SLIPWAY_CACHE") or Path(base) / "slipway")


def say(text: str) -> None:
    """To the person who waits; stdout holds nothing but the path."""
    print(f"==> {text}", file=sys.stderr, flush=True)


def ensure_venv_module() -> None:
    """Debian splits ensurepip from python3."""
    if subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True, check=False).returncode == 0:
        return
    say("installing Debian's python3-venv")
    if os.geteuid() != 0:
        sys.exit("python3-venv is missing: apt-get install python3-venv")
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
    subprocess.run(["apt-get", "install", "-y", "-q", "python3-venv"], check=True, stdout=sys.stderr)


def build(path: Path) -> None:
    """Install everything the lock names; the stamp at the end is what makes it count."""
    ensure_venv_module()
    shutil.rmtree(path, ignore_errors=True)
    say(f"setting up Python dependencies in {path}: once per lock file, about 3 minutes")
    subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
    pip = [str(path / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off"]
    subprocess.run([*pip, "-q", "-r", str(LOCK)], check=True, stdout=sys.stderr)
    (path / STAMP).touch()
    for old in sorted(path.parent.glob("venv-" + "[0-9a-f]" * 12), key=lambda p: p.stat().st_mtime)[:-KEPT]:
        if old != path:
            shutil.rmtree(old, ignore_errors=True)


def declare_operators(path: Path) -> None:
    """See the module that is copied; also into an environment that was built before there was one."""
    for place in path.glob("lib/python3*/site-packages"):
        hook, copy = place / f"{OPERATORS.stem}.pth", place / OPERATORS.name
        if not hook.exists() or not copy.exists() or copy.read_bytes() != OPERATORS.read_bytes():
            copy.write_bytes(OPERATORS.read_bytes())
            hook.write_text(f"import {OPERATORS.stem}\n")


def main() -> None:
    """Build what is missing, one process at a time."""
    if sys.version_info < (3, 11):  # noqa: UP036 (this is where an older one is told)
        sys.exit(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    digest = hashlib.sha256(LOCK.read_bytes() + sys.version.encode()).hexdigest()[:12]
    path = cache() / f"venv-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with (cache() / "venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / STAMP).exists():
            build(path)
        declare_operators(path)
    print(path)


if __name__ == "__main__":
    main()
