"""Clients take turns at the threads that decode pictures, by what their pictures have cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.serve.web.pictures.fair_queue import FairQueue


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40))
def test_the_line_gives_back_every_job_once_and_forgets_who_is_gone(asked: list[tuple[str, int]]) -> None:
    line: FairQueue[int] = FairQueue()
    for number, client in enumerate(asked):
        line.add(client, number)
    taken = []
    while len(line):
        client, job = line.take()
        assert asked[job] == client
        taken.append(job)
        line.done(client, 0.5 + job % 3)
    assert sorted(taken) == list(range(len(asked)))
    for client in set(asked):
        own = [job for job in taken if asked[job] == client]
        assert own == sorted(own), "first come, first served within one client"
    assert not len(line._peers)
    assert not line._clients


@pytest.mark.parametrize("address", ["1.1.1.1", "2.2.2.2"])
def test_clients_with_dear_jobs_wait_for_one_with_cheap_ones(address: str) -> None:
    """Behind a proxy all come from one address: there connections take turns."""
    line: FairQueue[str] = FairQueue()
    for number in range(30):
        line.add(("1.1.1.1", number % 8), "dear")
    for _ in range(10):
        client, job = line.take()
        line.done(client, 1.0)
    order = []
    for _ in range(10):
        line.add((address, "one"), "cheap")
        client, job = line.take()
        order.append(job)
        line.done(client, 0.001 if job == "cheap" else 1.0)
    assert order.count("cheap") >= 8
