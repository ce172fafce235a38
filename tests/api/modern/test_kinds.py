"""CEL in the server itself: what the unit tests' Python says of our rules is what a Kubernetes of today does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.api.codegen.crd import KINDS
from slipway.api.quantization import quantizationjob
from slipway.api.training import trainingjob
from tests.api.modern.asking import collection, edit_refusal, refusal
from tests.cluster.paths import REPOSITORY
from tests.cluster.rest import Client
from tests.unit.api.admission import Admission, with_defaults
from tests.unit.api.generated import NAMES, specs
from tests.unit.api.manifests import BUILT_IN, FULL, job, merged
from tests.unit.api.manifests import WRONG as WRONG_TRAININGS
from tests.unit.api.test_transitions import ALWAYS, EDITS, SUSPENDED, field_of
from tests.unit.inferenceservice.test_spec import NONSENSE, SENSE, service
from tests.unit.quantizationjob.refusals import WRONG as WRONG_QUANTIZATIONS
from tests.unit.quantizationjob.refusals import Wrong as WrongQuantization
from tests.unit.searchjob.refusals import Wrong as WrongSearch

pytestmark = pytest.mark.api

Object = dict[str, Any]
JUDGES = {kind.kind: Admission(kind) for kind in KINDS}
EXAMPLES = sorted((REPOSITORY / "manifests" / "examples").glob("*.yaml"))
STARTS = {"running": FULL, "bare": BUILT_IN, "suspended": merged(FULL, SUSPENDED)}


def test_the_crds_are_taken_by_a_server_side_apply_as_readme_says(client: Client) -> None:
    for kind in KINDS:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.plural}.slipway.dev"
        body = yaml.safe_load((REPOSITORY / "crds" / f"{kind.plural}.yaml").read_text())
        patch = f"{path}?fieldManager=kubectl&force=true&fieldValidation=Strict"
        marks = client.call("PATCH", patch, body, "application/apply-patch+yaml")["status"]["conditions"]
        found = {mark["type"]: mark["status"] for mark in marks}
        assert found["Established"] == found["NamesAccepted"] == "True"
        assert "NonStructuralSchema" not in found


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken(client: Client, path: Path) -> None:
    for body in yaml.safe_load_all(path.read_text()):
        if body["kind"] in JUDGES:
            assert refusal(client, body, "Strict") == ""


@pytest.mark.parametrize(
    "wrong", [*WRONG_TRAININGS, *WRONG_QUANTIZATIONS], ids=lambda wrong: f"{type(wrong).__module__[11:15]}-{wrong.name}"
)
def test_what_is_wrong_is_refused_at_admission_in_our_words(client: Client, wrong: WrongQuantization) -> None:
    said = refusal(client, wrong.manifest)
    assert bool(said) == (wrong.by != "operator"), said
    if wrong.by == "cel":
        ours = JUDGES[wrong.manifest["kind"]].cel(wrong.manifest)
        assert all(problem.partition(": ")[2] in said for problem in ours), (ours, said)


@pytest.mark.parametrize("spec", SENSE, ids=str)
def test_a_service_that_makes_sense_is_taken(client: Client, spec: Object) -> None:
    assert refusal(client, service(**spec)) == ""


@pytest.mark.parametrize(("spec", "words"), NONSENSE, ids=str)
def test_a_service_that_makes_no_sense_is_refused(client: Client, spec: Object, words: str) -> None:
    """As kubectl asks, which has unknown fields refused."""
    said = refusal(client, service(**spec), "Strict")
    assert said
    for problem in JUDGES["InferenceService"].cel(service(**spec)) if "is invalid" in said else []:
        assert problem.partition(": ")[2] in said or JUDGES["InferenceService"].structural(service(**spec))


@pytest.fixture(scope="module", params=STARTS)
def stored(request: pytest.FixtureRequest, client: Client) -> Iterator[tuple[str, Object]]:
    """How a job that is on the server began, and the job."""
    body = job(STARTS[request.param], f"edited-{request.param}")
    client.call("POST", collection(body), body)
    yield request.param, body
    client.call("DELETE", f"{collection(body)}/{body['metadata']['name']}")


@pytest.mark.parametrize("edit", {**EDITS, **ALWAYS})
def test_the_server_judges_an_edit_as_we_do(client: Client, stored: tuple[str, Object], edit: str) -> None:
    _, old = stored
    patch = {**EDITS, **ALWAYS}[edit]
    said = edit_refusal(client, old, {"spec": patch})
    ours = JUDGES["TrainingJob"].refusals(job(merged(old["spec"], patch), old["metadata"]["name"]), old)
    assert bool(said) == bool(ours), (said, ours)
    assert all(problem.partition(": ")[2] in said for problem in ours if " can" in problem), (said, ours)


@pytest.mark.parametrize("edit", EDITS)
def test_a_running_job_keeps_what_its_pods_were_made_from(client: Client, edit: str) -> None:
    body = job(FULL, "kept")
    client.apply(collection(body), body)
    assert f"{field_of(edit)} can" in edit_refusal(client, body, {"spec": EDITS[edit]})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_defaults_are_those_that_our_python_fills_in(client: Client, kind: Any) -> None:
    bodies = {
        "TrainingJob": job(BUILT_IN, "plain"),
        "QuantizationJob": WrongQuantization("", {}, "").manifest,
        "InferenceService": service(),
        "SearchJob": WrongSearch("", {}, "").manifest,
    }
    body = bodies[kind.kind]
    body["metadata"]["namespace"] = "default"
    found = client.call("POST", f"{collection(body)}?dryRun=All", body)
    expected = with_defaults(body, JUDGES[kind.kind].schema)
    assert found["spec"] == expected["spec"]
    assert found["status"] == expected["status"]


def _trainings() -> st.SearchStrategy[Object]:
    return st.builds(job, specs(JUDGES["TrainingJob"].schema["properties"]["spec"]), NAMES)


def _agree(client: Client, obj: Object) -> None:
    judge = JUDGES[obj["kind"]]
    said, ours = refusal(client, obj), judge.refusals(obj)
    assert bool(said) == bool(ours), f"the server: {said or 'takes it'}; Python: {ours or 'takes it'}"
    if not judge.structural(obj):
        assert all(problem.partition(": ")[2] in said for problem in ours), (said, ours)


_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=100, deadline=None, suppress_health_check=_QUIET)
@given(_trainings())
def test_the_server_and_our_python_agree_on_generated_jobs(client: Client, obj: Object) -> None:
    _agree(client, obj)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=_QUIET)
@given(_trainings())
def test_the_server_and_our_python_agree_on_generated_jobs_at_length(client: Client, obj: Object) -> None:
    _agree(client, obj)


@pytest.mark.parametrize("kind", [trainingjob.KIND, quantizationjob.KIND], ids=lambda kind: kind.kind)
def test_a_job_without_a_spec_or_with_another_type_in_it_is_refused(client: Client, kind: Any) -> None:
    body: Object = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind.kind, "metadata": {"name": "x"}}
    assert "spec: Required value" in refusal(client, body)
    for garbage in ([], "x", 3, None, {"runPolicy": [1]}):
        assert refusal(client, {**body, "spec": garbage}), garbage
