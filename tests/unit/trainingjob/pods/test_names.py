"""Job names of any length: accepted with room for every pod's name, or refused; never accepted and stuck."""

from __future__ import annotations

import re

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import spec_problems
from slipway.trainingjob import pod_groups, pods
from slipway.trainingjob.job import TrainingJob
from tests.unit.api.admission import Admission
from tests.unit.api.manifests import OWN, job
from tests.unit.trainingjob.rendered import PLATFORM

ADMISSION = Admission(trainingjob.KIND)
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@pytest.mark.parametrize("elastic", [False, True], ids=["static", "elastic"])
@pytest.mark.parametrize("nodes", [1, 11, 101, 1000])
@pytest.mark.parametrize("length", range(40, 65))
def test_a_name_works_or_is_refused_at_admission(length: int, nodes: int, elastic: bool) -> None:
    name = "a" * length
    spec = {**OWN, "numNodes": nodes} | ({"elasticPolicy": {"maxNodes": 1000}} if elastic else {})
    refused = ADMISSION.refusals(job(spec, name))
    parsed, problems = spec_problems(name, spec)
    assert bool(refused) == bool(problems), "both refuse it, or neither does"
    expected = 47 if elastic else {1: 50, 11: 49, 101: 48, 1000: 48}[nodes]
    assert (parsed is not None) == (length <= expected)
    if parsed is None:
        return
    made = TrainingJob(name, "team", "12345678-uid", 1, parsed)
    last = 9999 if elastic else nodes - 1
    # maxRestarts is at most 1000, and resuming counts attempts, too: four digits last for good.
    pod = pods.pod(made, last, 9999, PLATFORM)
    for text in (pod["metadata"]["name"], pod["spec"]["hostname"], pod["spec"]["subdomain"], made.config_map):
        assert LABEL.fullmatch(text), f"{text}: {len(text)} characters"
    assert all(LABEL_VALUE.fullmatch(value) for value in pod["metadata"]["labels"].values())
    assert len(pod_groups.name(made, 9999)) <= 63
    assert len(made.secret) <= 253
