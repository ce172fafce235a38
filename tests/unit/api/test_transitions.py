"""Which edits of a TrainingJob CEL refuses: what the pods were made from is fixed for good, or while they run."""

import pytest

from slipway.api.training import trainingjob
from slipway.api.training.trainingjob import FIXED_FIELDS, FIXED_WHILE_RUNNING, TrainingJobSpec
from tests.unit.api.admission import Admission
from tests.unit.api.manifests import BUILT_IN, FULL, job, merged

ADMISSION = Admission(trainingjob.KIND)
SUSPENDED = {"runPolicy": {"suspend": True}}

EDITS = {
    "launcher": {"launcher": "plain"},
    "trainer": {"trainer": {"image": "example.com/other:2"}},
    "recipe": {"recipe": {"epochs": 11}},
    "output": {"output": {"uri": "pvc://artifacts/elsewhere"}},
    "output removed": {"output": None},
    "checkpoint": {"checkpoint": {"keepLast": 3}},
    "checkpoint removed": {"checkpoint": None},
    "torch": {"torch": {"masterPort": 29501}},
    "numNodes": {"numNodes": 4},
    "numProcPerNode": {"numProcPerNode": 2},
    "pod": {"pod": {"nodeSelector": {"zone": "b"}}},
    "sharedMemory": {"sharedMemory": {"sizeLimit": "1Gi"}},
    "elasticPolicy": {"elasticPolicy": {"maxNodes": 4}},
    "deepspeed": {"launcher": "deepspeed", "deepspeed": {"zeroStage": 2}},
    "mpi": {"launcher": "mpirun", "mpi": {"implementation": "MPICH"}},
    "strategy": {"strategy": {"name": "DDP"}},
    "network": {"network": {"hostNetwork": True}},
    "scheduling": {"scheduling": {"priority": 5}},
    "tracking": {"tracking": {"mlflow": {"uri": "http://mlflow:5000"}}},
    "runtimeRef": {"runtimeRef": {"name": "other"}},
}
ALWAYS = {
    "nothing": {},
    "a default spelled out": {"launcher": "torchrun", "torch": {"masterPort": 29500}},
    "suspend": SUSPENDED,
    "deadline": {"runPolicy": {"activeDeadlineSeconds": 600}},
    "budget": {"failurePolicy": {"maxRestarts": 9}},
}


def refused(patch, *, old):
    return ADMISSION.cel(job(merged(old, patch)), job(old))


def field_of(name):
    return name.removesuffix(" removed")


def test_every_field_of_the_spec_is_either_fixed_or_free():
    fields = {TrainingJobSpec.model_fields[name].alias for name in TrainingJobSpec.model_fields}
    assert fields == {*FIXED_FIELDS, *FIXED_WHILE_RUNNING, "runPolicy", "failurePolicy", "successPolicy"}
    assert {field_of(name) for name in EDITS} == {*FIXED_FIELDS, *FIXED_WHILE_RUNNING}


@pytest.mark.parametrize("edit", EDITS)
def test_a_running_job_keeps_what_its_pods_were_made_from(edit):
    # DeepSpeed's and MPI's settings cannot appear without their launcher, which is fixed, too.
    problem = next(found for found in refused(EDITS[edit], old=FULL) if f"{field_of(edit)} can" in found)
    assert ("delete the job" if field_of(edit) in FIXED_FIELDS else "set runPolicy.suspend first") in problem


@pytest.mark.parametrize("edit", EDITS)
def test_a_suspended_job_may_change_its_shape_but_not_what_it_trains(edit):
    problems = refused(EDITS[edit], old=merged(FULL, SUSPENDED))
    assert bool(problems) == (field_of(edit) in FIXED_FIELDS)


def test_a_job_may_change_its_shape_in_the_edit_that_resumes_it():
    assert refused({"numNodes": 4, "runPolicy": {"suspend": False}}, old=merged(FULL, SUSPENDED)) == []


def test_an_elastic_job_is_scaled_while_it_runs_and_within_its_bounds():
    elastic = merged(BUILT_IN, {"elasticPolicy": {"maxNodes": 4}})
    assert refused({"numNodes": 4}, old=elastic) == []
    (problem,) = refused({"numNodes": 8}, old=elastic)
    assert "numNodes is outside elasticPolicy" in problem
    assert refused({"numProcPerNode": 2}, old=elastic)


def test_a_job_may_not_change_its_shape_in_the_edit_that_suspends_it():
    assert refused({"numNodes": 4, **SUSPENDED}, old=FULL)


@pytest.mark.parametrize("edit", ALWAYS)
@pytest.mark.parametrize("old", [FULL, BUILT_IN, merged(FULL, SUSPENDED)], ids=["running", "bare", "suspended"])
def test_policies_may_change_at_any_time(edit, old):
    assert refused(ALWAYS[edit], old=old) == []


@pytest.mark.parametrize(
    ("before", "after"), [("a.example/x", "b.example/y"), ("a.example/x", None), (None, "a.example/x")]
)
def test_the_controller_of_a_job_is_fixed(before, after):
    (problem,) = refused({"runPolicy": {"managedBy": after}}, old=merged(FULL, {"runPolicy": {"managedBy": before}}))
    assert "managedBy cannot be changed" in problem
