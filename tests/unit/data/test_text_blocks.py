"""Texts that are never held as a whole: blocks, pieces and the last tenth are those of the whole text."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.perf import token_memory
from tests.unit.train import processes
from workloads.data.texts import text_blocks, token_file
from workloads.data.texts.text import Tokenizer
from workloads.errors import BadInput
from workloads.measure import rss

TEXTS = st.lists(st.text(st.sampled_from("ab \n\r\u2028é\t."), max_size=40), max_size=6)


def divided(text: str) -> int:
    """By the whole text at once."""
    lines = text.splitlines(keepends=True)
    if len(lines) >= 10:
        return len("".join(lines[: len(lines) - max(1, len(lines) // 10)]))
    at = len(text) - len(text) // 10
    return text.rfind(" ", 0, at) + 1 or at


@given(TEXTS)
def test_the_last_tenth_is_that_of_the_whole_text(blocks: list[str]) -> None:
    blocks = [block for block in blocks if block]
    whole = "".join(blocks)
    place = text_blocks.border(lambda: blocks)
    assert place == divided(whole)
    assert "".join(text_blocks.until(blocks, place)) == whole[:place]
    assert "".join(text_blocks.after(blocks, place)) == whole[place:]


@given(TEXTS, st.integers(1, 9))
def test_pieces_are_the_whole_text(blocks: list[str], size: int) -> None:
    before = text_blocks.PIECE, text_blocks.LONGEST
    text_blocks.PIECE, text_blocks.LONGEST = size, 4 * size
    try:
        found = list(text_blocks.pieces(blocks))
    finally:
        text_blocks.PIECE, text_blocks.LONGEST = before
    assert "".join(found) == "".join(blocks)
    assert all(found)
    assert all(len(one) <= 4 * size for one in found[:-1])


def gpt2_like(folder: Path) -> Path:
    """A small tokenizer that cuts words as GPT-2's does."""
    path = folder / "tokenizer.json"
    token_memory.small_tokenizer("the cat sat on the mat\n\n and  ran\n" * 50).save(str(path))
    return path


@given(blocks=TEXTS)
def test_tokens_of_pieces_are_those_of_the_whole_text(blocks: list[str], tmp_path_factory: Any) -> None:
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.getbasetemp() / "tokenizer"
    if not folder.exists():
        folder.mkdir()
        gpt2_like(folder)
    tokenizer = Tokenizer(folder.as_uri())
    before = text_blocks.PIECE
    text_blocks.PIECE = 5
    try:
        found = [part for part in token_file.encoded([blocks], tokenizer, np.dtype(np.uint16)) if len(part)]
    finally:
        text_blocks.PIECE = before
    expected = [*tokenizer.encode("".join(blocks)).tolist(), tokenizer.end]
    assert np.concatenate(found).tolist() == expected


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_as_it_is_across_blocks(
    tmp_path: Path, encoding: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_blocks, "BLOCK", 7)
    text, path = "eins zwei drüber\r\nund 漢字 𝄞 weiter\n" * 9, tmp_path / "a.txt"
    content = text.encode(encoding)
    path.write_bytes(gzip.compress(content) if packed else content)
    assert "".join(text_blocks.read(path)) == text
    path.write_bytes(b"one\ntwo\nth\xe9 three\n")
    with pytest.raises(BadInput, match="line 3 is not UTF-8"):
        list(text_blocks.read(path))
    path.write_bytes(gzip.compress(content)[:-9])
    with pytest.raises(BadInput, match="not a whole gzip file"):
        list(text_blocks.read(path))


def counted(text: str, calls: list[int]) -> token_file.Texts:
    def texts() -> Any:
        calls.append(1)
        yield (text,)

    return texts


def test_tokens_are_made_once_for_a_text_and_a_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token_file.CACHE, str(tmp_path))
    calls: list[int] = []
    for identity in ("a", "a", "b"):
        found = token_file.cached(counted("text", calls), Tokenizer(None), identity)
        assert found.tolist() == [*b"text", 256]
        assert found.dtype == np.uint16
    assert len(calls) == 2
    wide = Tokenizer(None)
    wide.vocabulary = 1 << 17
    assert token_file.cached(counted("text", calls), wide, "a").dtype == np.int32
    assert not list(tmp_path.glob("*.partial"))


def test_what_a_killed_process_left_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token_file.CACHE, str(tmp_path))
    token_file.cached(counted("text", []), Tokenizer(None), "a")
    (path,) = tmp_path.glob("*.tokens")
    path.unlink()
    path.with_suffix(".partial").write_bytes(b"half")
    assert token_file.cached(counted("text", []), Tokenizer(None), "a").tolist() == [*b"text", 256]


def test_old_tokens_are_removed_and_stay_with_whom_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(token_file.CACHE, str(tmp_path))
    first = token_file.cached(counted("first", []), Tokenizer(None), "0")
    os.utime(next(tmp_path.glob("*.tokens")), (1, 1))
    for number in range(1, token_file.KEPT + 1):
        token_file.cached(counted(f"{number}", []), Tokenizer(None), f"{number}")
    assert len(list(tmp_path.glob("*.tokens"))) == token_file.KEPT
    assert first.tolist() == [*b"first", 256]


def test_without_a_place_for_a_file_tokens_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(token_file.CACHE, str(tmp_path / "file/folder"))
    assert token_file.cached(counted("text", []), Tokenizer(None), "a").tolist() == [*b"text", 256]
    assert "tokens are kept in memory" in capsys.readouterr().out


def test_somebody_elses_folder_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour on the machine could write what is learned."""
    monkeypatch.delenv(token_file.CACHE, raising=False)
    monkeypatch.setattr(token_file.tempfile, "gettempdir", lambda: str(tmp_path))  # type: ignore[attr-defined]
    open_to_all = tmp_path / f"slipway-cache-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    token_file.cached(counted("text", []), Tokenizer(None), "a")
    assert list(open_to_all.iterdir()) == []


def at_once(folder: str) -> list[int]:
    """On each rank: how often it read the text."""
    os.environ[token_file.CACHE] = folder
    calls: list[int] = []
    token_file.cached(counted("text " * 100_000, calls), Tokenizer(None), "a")
    return [len(calls)]


def test_one_process_of_a_node_makes_the_tokens(tmp_path: Path) -> None:
    found = processes.results(at_once, (str(tmp_path / "cache"),), 3, tmp_path / "logs")
    assert sorted(calls for (calls,) in found) == [0, 0, 1]


@pytest.mark.parametrize("kind", ["bytes", pytest.param("tokenizer", marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_text(tmp_path: Path, kind: str) -> None:
    """149 bytes for each byte of text, in every process. Measured in fresh ones, against many times what it takes."""
    if kind == "tokenizer":
        pytest.importorskip("tokenizers")
    grown = []
    few, many, bound = (4, 24, 15) if kind == "bytes" else (3, 7, 200)
    for megabytes in (few, many):
        text = token_memory.write(tmp_path / f"{megabytes}", megabytes, kind)
        grown.append(rss.in_fresh_process("tests.perf.token_memory", "--measure", str(text), "--kind", kind))
    assert grown[0] is not None
    assert grown[1] is not None
    assert grown[1] - grown[0] < bound << 20, grown
