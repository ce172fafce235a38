"""Capabilities are asked for by name, for the same container of all three kinds; without them nothing has changed."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.api.common.pod import Capability, PodPlace
from slipway.api.quantization.quantizationjob import spec_problems as quantization_problems
from slipway.api.serving.inferenceservice import spec_problems as service_problems
from slipway.api.training.trainingjob import spec_problems
from slipway.trainingjob.gang import spec_digest
from tests.unit.trainingjob.rendered import container_of, job_of

NONE = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
ASKED = ["SYS_PTRACE", "IPC_LOCK"]


def test_restricted_by_default_and_what_is_asked_for_on_request() -> None:
    assert container_of(job_of())["securityContext"] == NONE
    wanted = {"drop": ["ALL"], "add": ["IPC_LOCK", "SYS_PTRACE"]}
    with_rdma = job_of(pod={"capabilities": ["SYS_PTRACE"]}, network={"rdma": True})
    for job in (job_of(pod={"capabilities": ASKED}), with_rdma):
        assert container_of(job)["securityContext"] == {**NONE, "capabilities": wanted}
    assert PodPlace().contained(Capability.IPC_LOCK)["capabilities"]["add"] == ["IPC_LOCK"]
    assert "capabilities" not in job_of().spec.model_dump(exclude_defaults=True).get("pod", {})
    assert spec_digest(job_of().spec) != spec_digest(job_of(pod={"capabilities": ASKED}).spec)


@pytest.mark.parametrize("name", ["SYS_ADMIN", "CAP_IPC_LOCK", "ALL", "SYS_MODULE", "BPF", "ipc_lock"])
def test_what_would_make_a_container_the_nodes_master_is_refused_for_all_kinds(name: str) -> None:
    place: dict[str, Any] = {"capabilities": [name]}
    data = {"dataset": {"name": "digits"}}
    job = {"model": {"uri": "pvc://m/a"}, "calibration": data, "evaluation": data, "output": {"uri": "pvc://m/b"}}
    found = [
        spec_problems("j", {"trainer": {"image": "x", "command": ["a"]}, "pod": place})[1],
        quantization_problems("q", {**job, "pod": place})[1],
        service_problems("s", {"predictor": {"model": {"uri": "pvc://m/a"}, "pod": place}})[1],
    ]
    assert all("'IPC_LOCK'" in " ".join(problems) for problems in found)
