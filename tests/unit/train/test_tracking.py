"""Trackers: names that every server takes, and servers that are dead, slow, wrong or angry cost no training."""

import http.server
import math
import re
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway.api.training.learning.tracking import Mlflow
from tests.ports import free_port
from workloads.train.tracking import scalars, tensorboard
from workloads.train.tracking.mlflow import MOST_WAITING, MlflowRun
from workloads.train.tracking.tracker import Run, Trackers

MLFLOW_NAME = re.compile(r"^[/\w.\- :]{1,250}$")
RUN = Run("digits", "uid-1", {"optimizer": {"learningRate": 0.1}}, {"slipway.job": "digits"})


@given(st.dictionaries(st.sampled_from(["accuracy", "loss", "mfu", "epoch", "step"]), st.floats() | st.none()))
def test_what_is_not_finite_is_left_out(row: dict[str, Any]) -> None:
    """MLflow's databases refuse NaN or break their page on it, and keep another number for infinity."""
    found = scalars.of_row(row)
    assert all(math.isfinite(value) for value in found.values())
    assert all(MLFLOW_NAME.match(name) and name.count("/") == 1 for name in found)
    assert len(found) == sum(
        value is not None and math.isfinite(value) for name, value in row.items() if name != "step"
    )


def test_settings_are_flat_words() -> None:
    found = dict(scalars.flattened({"a": {"b": 1, "c": {"d": None}}, "e": [1, 2]}))
    assert found == {"a.b": "1", "a.c.d": "None", "e": "[1, 2]"}


class Broken:
    """A tracker whose library raises whatever it is told."""

    lost = 0

    def __init__(self) -> None:
        self.calls = 0

    def log(self, step: int, values: Any) -> None:
        self.calls += 1
        raise RuntimeError("Metric 'training/loss' is malformed")

    def end(self, state: str, tags: Any, patience: float) -> None:
        raise AssertionError("it was left out")


def test_a_tracker_that_raises_is_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    broken = Broken()
    every = Trackers([broken])
    for step in range(3):
        every.point(step, 0.5)
    every.end("FINISHED", {}, 1.0)
    assert (broken.calls, every.lost) == (1, 1)
    assert "is left out from here on, the training goes on: Metric" in capfd.readouterr().err


@contextmanager
def server(code: int | None) -> Iterator[tuple[int, list[str]]]:
    """A server that answers this code; with None it takes requests and says nothing. Its port, and what was asked."""
    asked: list[str] = []
    silence = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if code is None:
                silence.wait(60)
                return
            self.send_response(code)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_arguments: Any) -> None: ...

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        try:
            yield found.server_address[1], asked
        finally:
            silence.set()
            found.shutdown()


@pytest.mark.parametrize("kind", ["dead", "silent", "500", "401", "404", "302"])
def test_a_bad_server_costs_a_bounded_moment(
    kind: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with server(None if kind in {"silent", "dead"} else int(kind)) as (port, asked):
        run = MlflowRun(Mlflow(uri=f"http://127.0.0.1:{free_port() if kind == 'dead' else port}"), RUN)
        calls = 0.0
        for step in range(50):
            before = time.thread_time()
            run.log(step, {"training/loss": 0.5})
            calls += time.thread_time() - before
        run.end("FINISHED", {}, 2.0)
        run._thread.join(30)
        assert not run._thread.is_alive()
    assert calls < 1.0  # it notes, and waits for nobody
    assert run.lost >= 1
    assert not any("elsewhere" in path for path in asked)
    said = capfd.readouterr().err
    assert "the training goes on" in said or "given up" in said
    assert said.count("warning: tracking") <= 2
    if kind in {"401", "404"}:
        assert len(asked) == 1, "what cannot get better is not tried again"


def test_a_server_that_never_answers_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowRun, "_work", lambda _self: None)
    run = MlflowRun(Mlflow(uri="http://127.0.0.1:1"), RUN)
    run.log(0, {f"heldOut/{number}": 1.0 for number in range(MOST_WAITING + 5)})
    assert (run.lost, len(run._waiting)) == (5, MOST_WAITING)


def test_event_files_say_what_the_rows_say(tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    rows = [{"step": 4, "epoch": 1, "trainingLoss": 2.5, "accuracy": 0.25, "mfu": math.nan}]
    found = tensorboard.files(RUN, rows, [(2, 3.0), (4, 2.0)])
    assert len(found) == 1
    for name, content in found.items():
        (tmp_path / Path(name).name).write_bytes(content)
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [(point.step, point.value) for point in events.Scalars("training/loss")] == [(2, 3.0), (4, 2.0)]
    assert [(point.step, point.value) for point in events.Scalars("heldOut/accuracy")] == [(4, 0.25)]
    assert "speed/mfu" not in events.Tags()["scalars"]
    assert b"optimizer.learningRate | 0.1" in events.Tensors("run/text_summary")[0].tensor_proto.string_val[0]
