"""Requests are counted as they cost the server: each write and read, by resource, and no watch."""

from __future__ import annotations

from tests.perf.operator.request_bench import requests


def test_requests_are_named_as_kubectl_names_them_and_watches_are_left_out() -> None:
    job = {"resource": "trainingjobs"}
    events = [
        {"verb": "patch", "objectRef": {**job, "subresource": "status"}},
        {"verb": "patch", "objectRef": {**job, "subresource": "status"}},
        {"verb": "create", "objectRef": {"resource": "pods"}},
        {"verb": "watch", "objectRef": job},
        {"verb": "list", "objectRef": job},
    ]
    assert requests(events) == {"patch trainingjobs/status": 2, "create pods": 1}
