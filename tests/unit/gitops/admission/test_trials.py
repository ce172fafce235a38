"""TrainingJobs that the operator may write: the trials of a SearchJob, and nobody else's."""

from tests.unit.gitops.admission.policy import Request, refusals
from tests.unit.gitops.admission.test_policy import one_of


def test_a_trial_is_written_and_a_trainingjob_of_a_persons_is_not() -> None:
    trial = one_of("TrainingJob")
    assert refusals(Request(new=trial, old=trial)) == []
    theirs = {**trial, "metadata": {"name": "digits", "namespace": "default"}}
    assert "may change and delete only what belongs" in "; ".join(refusals(Request(new=theirs, old=theirs)))
    assert refusals(Request(new=theirs))
    assert refusals(Request(new=trial, old=theirs)), "a person's job is taken over"
