"""What a person sees: a bar on a terminal, lines in a log."""

import io
import sys

import pytest

from workloads.pod.progress import Poster
from workloads.quantize import progress
from workloads.quantize.progress import ProgressReporter


class Terminal(io.StringIO):
    """Takes what is written, and says that a person looks at it."""

    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    found = list(ProgressReporter(Poster({})).track(["c", "d"], "calibration", done=2))
    assert found == ["c", "d"]
    shown = terminal.getvalue().split("\r")
    assert any("calibration:  50%" in text and "2/4" in text for text in shown)
    assert "4/4" in shown[-1]


def test_a_log_gets_lines_and_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    assert list(ProgressReporter(Poster({})).track(["c", "d"], "calibration", done=2)) == ["c", "d"]
    said = capsys.readouterr()
    assert said.out.splitlines() == ["calibration: 3 of 4", "calibration: 4 of 4"]
    assert said.err == ""
