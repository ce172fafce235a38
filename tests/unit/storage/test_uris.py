"""URIs, digests and atomic publishing."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from slipway.api.common.artifact import FileDigest
from workloads import storage
from workloads.errors import BadInput, Corrupt


@pytest.fixture
def claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv(storage.PVC_ROOT, str(tmp_path))
    return tmp_path / "data"


def test_local_uris(claim: Path) -> None:
    assert storage.local_path("pvc://data/a/b") == claim / "a/b"
    assert storage.local_path("pvc://data/with%20space") == claim / "with space"
    assert storage.local_path("file:///a%20b/c") == Path("/a b/c")
    assert storage.local_path("s3://bucket/key") is None


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pvc://data/../other", "leave the claim"),
        ("pvc://data/%2e%2e/other", "leave the claim"),
        ("pvc:///path", "claim is missing"),
        ("pvc://absent/path", "not mounted"),
        ("file://relative/path", "three slashes"),
    ],
)
def test_bad_local_uris(claim: Path, uri: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        storage.local_path(uri)


def test_fetch_says_what_is_missing(claim: Path) -> None:
    with pytest.raises(BadInput, match="nothing at"):
        storage.fetch("pvc://data/absent")
    with pytest.raises(BadInput, match="pin the revision"):
        storage.fetch("hf://owner/name/file")
    with pytest.raises(BadInput, match="no driver"):
        storage.fetch("unheardof://bucket/key")


def test_digest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    files = storage.digests_of(tmp_path)
    listing = subprocess.run(["sha256sum", "a", "sub/b"], cwd=tmp_path, check=True, capture_output=True).stdout
    assert [file.path for file in files] == ["a", "sub/b"]
    assert storage.tree_digest(files) == f"sha256:{hashlib.sha256(listing).hexdigest()}"


def test_verify_notices_every_kind_of_damage(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"0123456789")
    files = storage.digests_of(tmp_path)
    storage.verify(tmp_path, files)
    path.write_bytes(b"0123456780")
    with pytest.raises(Corrupt, match="sha256"):
        storage.verify(tmp_path, files)
    path.write_bytes(b"01234")
    with pytest.raises(Corrupt, match="5 bytes, 10 were written"):
        storage.verify(tmp_path, files)
    path.unlink()
    with pytest.raises(Corrupt, match="missing"):
        storage.verify(tmp_path, files)
    outside = FileDigest(path="a/../../b", size=0, digest=f"sha256:{'0' * 64}")
    with pytest.raises(Corrupt, match="leave the folder"):
        storage.verify(tmp_path, [outside])


def test_published_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "model"

    def fail_half_way() -> None:
        with storage.publishing(str(target), "job") as folder:
            (folder / "file").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []
    with storage.publishing(target.as_uri(), "job") as folder:
        (folder / "file").write_text("whole")
        assert not target.exists()
    assert (target / "file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_was_there_steps_aside_under_its_digest(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("first", "second", "second"):
        with storage.publishing(str(target), "job") as folder:
            (folder / "artifact.json").write_text(text)
    assert (target / "artifact.json").read_text() == "second"
    aside = sorted(path for path in tmp_path.iterdir() if path != target)
    assert sorted((path / "artifact.json").read_text() for path in aside) == ["first", "second"]
    for path in aside:
        digest = storage.sha256_of(path / "artifact.json").removeprefix("sha256:")[:12]
        assert path.name.startswith(f"model.replaced-{digest}")


def test_leftovers_of_the_same_writer_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".model.job.partial").mkdir()
    (tmp_path / ".model.job.partial/old").touch()
    (tmp_path / ".model.other.partial").mkdir()
    with storage.publishing(str(tmp_path / "model"), "job") as folder:
        (folder / "new").touch()
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["new"]
    assert (tmp_path / ".model.other.partial").is_dir()


def test_the_root_of_a_claim_is_refused(claim: Path) -> None:
    with pytest.raises(BadInput, match="folder inside the claim"), storage.publishing("pvc://data", "job"):
        pass


def test_remote_through_fsspec() -> None:
    """fsspec's in-memory store stands for any object store: the same calls, no server."""
    with storage.publishing("memory://bucket/model", "job") as folder:
        (folder / "artifact.json").write_text("{}")
        (folder / "sub").mkdir()
        (folder / "sub/weights").write_text("w")
    fetched = storage.fetch("memory://bucket/model")
    assert (fetched / "artifact.json").read_text() == "{}"
    assert (fetched / "sub/weights").read_text() == "w"
    with pytest.raises(BadInput, match="there already"), storage.publishing("memory://bucket/model", "job"):
        pass
    with pytest.raises(BadInput, match="nothing at"):
        storage.fetch("memory://bucket/absent")
