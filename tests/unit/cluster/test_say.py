"""What a newcomer reads: a long step is never silent, and its estimate is what it took here the last time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.cluster import say
from tests.cluster.demonstration import demo


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLIPWAY_CACHE", str(tmp_path))
    monkeypatch.setattr(say, "_left", {})
    return tmp_path


def test_a_long_step_says_that_it_is_still_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that took 39 minutes to compile on a loaded machine said nothing for as long."""
    said, heard = [], threading.Event()

    def listen(text: str) -> None:
        said.append(text)
        if "so far" in text:
            heard.set()

    monkeypatch.setattr(say, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(say, "say", listen)
    say.expect({"compile": 120.0})
    with say.step("compile"):
        assert heard.wait(60)
    assert any(line.startswith("compile: ") and line.endswith("so far, about 2.0 min are usual") for line in said)
    assert not [thread for thread in threading.enumerate() if thread.name == "beat" and thread.is_alive()]


def test_the_next_estimate_is_what_it_took_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say._remember("compile", 300.0)
    say._remember("download", 7.0)
    say.expect({"compile": 40.0, "download": 30.0, "install": 10.0})
    with say.step("install"):
        pass
    assert "install (about 5.3 min of set-up left)" in capsys.readouterr().err
    assert (folder / "seconds.json").exists()


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"compile": "x"}'])
def test_a_damaged_memory_is_none(folder: Path, content: str) -> None:
    (folder / "seconds.json").write_text(content)
    say.expect({"compile": 40.0})
    assert say._left == {"compile": 40.0}


def test_a_step_that_fails_ends_its_beat_and_is_not_remembered(folder: Path) -> None:
    def fail() -> None:
        with say.step("compile"):
            raise RuntimeError("no compiler")

    with pytest.raises(RuntimeError, match="no compiler"):
        fail()
    assert not (folder / "seconds.json").exists()


@pytest.mark.parametrize(("speed", "told"), [("0.83x", True), ("1.00x", False), ("2.61x", False), ("", False)])
def test_the_demo_says_when_int8_is_slower_than_float_and_why(speed: str, told: bool) -> None:
    words = demo.slower(speed)
    assert bool(words) == told
    assert not told or (speed in words and "VNNI" in words)
