"""Pages of pods: one line of 80,000 labels held the loop for 26 s, the lease was lost, and the next operator asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import orjson
import pytest

from slipway.inferenceservice.policy.demand import read_demand
from slipway.inferenceservice.policy.traffic import (
    MOST_BINS,
    MOST_REVISIONS,
    Traffic,
    TrafficSample,
    advance,
    read_metrics,
)
from slipway.inferenceservice.telemetry.served_model import read_model
from slipway.runtime.scraping.scrape import LARGEST
from tests.unit.hostile.cost import assert_bounded


def _filled(piece: bytes, size: int, before: bytes = b"", after: bytes = b"") -> bytes:
    return before + piece * ((size - len(before) - len(after)) // len(piece)) + after


METRICS: dict[str, Callable[[int], bytes]] = {
    "labels": lambda n: _filled(b'a="",', n, b"slipway_outputs_total{", b"} 1\n"),
    "labels of a stranger's": lambda n: _filled(b'a="",', n, b"foreign{", b"} 1\n"),
    "series": lambda n: _filled(b"slipway_rows_in_server 1\n", n),
    "short series": lambda n: _filled(b"slipway_\n", n),
    "labelled series": lambda n: _filled(b'slipway_outputs_total{output="y",bin="1"} 1\n', n),
    "escapes": lambda n: _filled(b'slipway_outputs_total{output="' + rb"\"" * 480 + b'"} 1\n', n),
    "no end of a value": lambda n: _filled(rb"\"", n, b'slipway_outputs_total{output="'),
    "names": lambda n: _filled(b"a" * 8, n, b"slipway_"),
    "lines": lambda n: b"\n" * n,
    "numbers": lambda n: _filled(b"9", n, b"slipway_rows_in_server "),
    "spaces": lambda n: _filled(b" ", n, b"slipway_rows_in_server"),
    "comments": lambda n: _filled(b"# HELP slipway_rows x\n", n),
    "nulls": lambda n: b"\0" * n,
}
READ: dict[str, Callable[[bytes], object]] = {"server": read_metrics, "activator": partial(read_demand, at=0.0)}


@pytest.mark.parametrize("reader", READ)
@pytest.mark.parametrize("name", METRICS)
def test_no_page_of_metrics_costs_more_than_a_moment(name: str, reader: str) -> None:
    def make(size: int) -> Callable[[], object]:
        page = METRICS[name](size)
        return lambda: READ[reader](page)

    assert_bounded(make, LARGEST)


MODELS: dict[str, Callable[[int], bytes]] = {
    "depth": lambda n: b"[" * n,
    "lists": lambda n: _filled(b"[],", n, b"[", b"[]]"),
    "inputs": lambda n: _filled(b'{"name":"x","datatype":"FP32","shape":[]},', n, b'{"inputs":[', b"{}]}"),
    "shape": lambda n: _filled(b"1,", n, b'{"inputs":[{"name":"x","datatype":"F","shape":[', b"1]}]}"),
    "properties": lambda n: orjson.dumps({"properties": {f"warm_up_ms_{i}": "1" for i in range(n // 24)}}),
    "digits": lambda n: _filled(b"9", n, b'{"properties":{"max_batch_size":"', b'"}}'),
    "number": lambda n: _filled(b"9", n, b'{"properties":{"max_batch_size":', b"}}"),
    "sources": lambda n: _filled(b"a ", n, b'{"properties":{"lineage_sources":"', b'"}}'),
    "text": lambda n: _filled("ü".encode(), n, b'{"platform":"', b'"}'),
    "spaces": lambda n: b" " * n,
}


@pytest.mark.parametrize("name", MODELS)
def test_no_description_of_a_model_costs_more_than_a_moment(name: str) -> None:
    def make(size: int) -> Callable[[], object]:
        page = MODELS[name](size)
        return lambda: read_model("r", page)

    assert_bounded(make, LARGEST)


@pytest.mark.parametrize("name", MODELS)
def test_a_description_of_a_model_that_makes_no_sense_is_a_value_error(name: str) -> None:
    """A RecursionError, or an overflow, is nobody's to catch."""
    with pytest.raises(ValueError, match="not the protocol's description"):
        read_model("r", MODELS[name](LARGEST))


@pytest.mark.parametrize("said", ["1e999", "-1e999", "nan", "1e300", "1_0", "0x10", "9" * 900, "", "\u0661", "true"])
def test_no_number_of_a_page_becomes_a_figure_that_a_status_cannot_hold(said: str) -> None:
    for page in (f"slipway_rows_in_server {said}\n", f'slipway_request_seconds_bucket{{le="{said}"}} 1\n'):
        try:
            found = read_metrics(page.encode())
        except ValueError:
            continue
        assert 0 <= found.inside <= 2**40
        assert all(0 <= bound <= 1e6 or bound == float("inf") for bound in found.slow)


def test_who_names_its_bins_and_revisions_anew_at_every_look_takes_no_more_memory_for_it() -> None:
    window = None
    for look in range(3 * MOST_REVISIONS):
        outputs = {f"y/{look}-{bin_}": float(look) for bin_ in range(MOST_BINS)}
        for at in (0, 1):
            seen = {"p": TrafficSample(f"r{look}", 2 * look + at, Traffic(outputs=outputs))}
            window = advance(window, "w", 2 * look + at, seen)
    assert window is not None
    assert len(window.revisions) <= MOST_REVISIONS
    assert all(len(traffic.outputs) <= MOST_BINS for traffic in window.revisions.values())
