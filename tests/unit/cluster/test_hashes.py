"""What an image holds is resolved by pip and written by hash; other files are refused when its wheels are collected."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cluster.images.build import IMAGES, Image
from tests.cluster.paths import REPOSITORY

SPEC = importlib.util.spec_from_file_location("hashed", REPOSITORY / "images" / "hashed.py")
assert SPEC is not None
assert SPEC.loader is not None
hashed = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hashed)
ARCHITECTURE = hashed.ARCHITECTURES.get(platform.machine(), platform.machine())


def wheel(folder: Path, name: str, needs: str = "", body: str = "") -> Path:
    """A package of one module, as an index would have it."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n" + (f"Requires-Dist: {needs}\n" if needs else "")
    files = {
        f"{name}.py": body,
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        path: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=")
        for path, text in files.items()
    }
    record = "".join(f"{path},sha256={digest.decode()},{len(files[path])}\n" for path, digest in digests.items())
    target = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(path, text)
    return target


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one dependency, which needs another, beside an index that has both."""
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(tmp_path / "index"), "CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    for folder in ("index", "images/mine", "images/hashes", "out"):
        (tmp_path / folder).mkdir(parents=True)
    wheel(tmp_path / "index", "first", needs="second>=1")
    wheel(tmp_path / "index", "second")
    for name in ("requirements.py", "wheels.sh"):
        shutil.copy(REPOSITORY / "images" / name, tmp_path / "images" / name)
    project = '[project]\nname = "mine"\ndependencies = ["first>=1"]\n[project.optional-dependencies]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    (tmp_path / "requirements.lock").write_text("first==1.0\nsecond==1.0\n")
    shutil.copy(tmp_path / "requirements.lock", tmp_path / "images")
    (tmp_path / "images/mine/Dockerfile").write_text('ARG EXTRAS="core"\nRUN /src/wheels.sh mine $EXTRAS\n')
    return tmp_path


def collect(root: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """What the first stage of a Dockerfile does."""
    (root / "images" / "python3").unlink(missing_ok=True)
    (root / "images" / "python3").symlink_to(sys.executable)
    env = {
        **os.environ,
        "PATH": f"{root / 'images'}:{os.environ['PATH']}",
        "FOLDER": str(root / "out"),
        "PIP": f"{sys.executable} -m pip",
        "TARGETARCH": ARCHITECTURE,
        **more,
    }
    command = [str(root / "images" / "wheels.sh"), "mine", "core"]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_a_file_of_another_hash_is_refused(root: Path) -> None:
    path = hashed.write("mine", root)
    assert path == root / "images" / "hashes" / f"mine-{ARCHITECTURE}.txt"
    digests = {
        name: hashlib.sha256((root / "index" / f"{name}-1.0-py3-none-any.whl").read_bytes()).hexdigest()
        for name in ("first", "second")
    }
    assert path.read_text() == "".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in digests.items())
    done = collect(root, REQUIRE_HASHES="1")
    assert done.returncode == 0, done.stderr
    assert len(list((root / "out").glob("*.whl"))) == 2
    wheel(root / "index", "second", body="print('somebody else')")
    shutil.rmtree(root / "out")
    (root / "out").mkdir()
    done = collect(root, REQUIRE_HASHES="1")
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "second" in done.stderr


def test_a_release_does_not_go_on_without_hashes_and_a_builders_own_image_does(root: Path) -> None:
    done = collect(root, REQUIRE_HASHES="1")
    assert done.returncode == 1
    assert "python3 images/hashed.py mine writes it" in done.stderr
    assert collect(root).returncode == 0
    assert len(list((root / "out").glob("*.whl"))) == 2


def test_a_version_that_the_lock_does_not_have_is_an_error_of_pips(root: Path) -> None:
    (root / "requirements.lock").write_text("first==2.0\n")
    with pytest.raises(SystemExit, match="pip cannot resolve it"):
        hashed.write("mine", root)


def test_a_package_without_a_hash_is_an_error() -> None:
    package = {"metadata": {"name": "x", "version": "1"}, "download_info": {"url": "https://example.com/x.git"}}
    with pytest.raises(SystemExit, match="knows no sha256"):
        hashed.line(package)


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_extras_are_read_from_the_dockerfile(image: Image) -> None:
    assert set(image.extras) <= set(hashed.extras(image.name))
