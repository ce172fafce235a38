"""One rule for every URI of all three kinds, said by admission and by the operator alike."""

import copy
from typing import Any

import pytest

from slipway.api.quantization import quantizationjob
from slipway.api.serving import inferenceservice
from slipway.api.training import trainingjob
from tests.unit.api.admission import Admission
from tests.unit.quantizationjob.refusals import RIGHT

Object = dict[str, Any]
KINDS = {module.KIND.kind: module for module in (trainingjob, quantizationjob, inferenceservice)}
ADMISSION = {kind: Admission(module.KIND) for kind, module in KINDS.items()}
RECIPE: Object = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "globalBatchSize": 64}
TEACHER: Object = {"distillation": {"teacher": {"uri": ""}}}
TEXT: Object = {"model": {"name": "text-classifier"}, "dataset": {"name": "text-table", "uri": "pvc://a/b"}}


def training(**fields: Any) -> Object:
    return {"numProcPerNode": 1, "recipe": RECIPE, **fields}


# Where a URI stands: kind, a right spec, the path in it.
READ: dict[str, tuple[str, Object, str]] = {
    "data": ("TrainingJob", training(recipe={**RECIPE, "dataset": {"name": "cifar10"}}), "recipe.dataset.uri"),
    "weights": ("TrainingJob", training(), "recipe.model.uri"),
    "tokenizer": ("TrainingJob", training(recipe={**RECIPE, **TEXT}), "recipe.dataset.tokenizer"),
    "teacher": ("TrainingJob", training(recipe={**RECIPE, **TEACHER}), "recipe.distillation.teacher.uri"),
    "float model": ("QuantizationJob", {**RIGHT, "model": {}}, "model.uri"),
    "calibration": ("QuantizationJob", {**RIGHT, "calibration": {}}, "calibration.uri"),
    "served model": ("InferenceService", {"predictor": {"model": {}}}, "predictor.model.uri"),
}
WRITTEN: dict[str, tuple[str, Object, str]] = {
    "output": ("TrainingJob", training(output={}), "output.uri"),
    "checkpoint": ("TrainingJob", training(checkpoint={}), "checkpoint.uri"),
    "quantized": ("QuantizationJob", {**RIGHT, "output": {}, "work": {"uri": "pvc://w/w"}}, "output.uri"),
}
ON_DISK: dict[str, tuple[str, Object, str]] = {
    "work": ("QuantizationJob", {**RIGHT, "work": {}}, "work.uri"),
    "engines": ("InferenceService", {"predictor": {"model": {"uri": "pvc://m/x"}, "engine": {"cache": {}}}},
                "predictor.engine.cache.uri"),
}  # fmt: skip
ALL = READ | WRITTEN | ON_DISK

NOWHERE = {
    "another scheme": ("ftp://host/x", ""),
    "an unsafe scheme": ("http://host/x", ""),
    "upwards": ("pvc://claim/../x", "write the path out"),
    "upwards, escaped": ("pvc://claim/%2e%2E/x", "write the path out"),
    "a slash, escaped": ("pvc://claim/a%2fb", "write the path out"),
    "an end of text, escaped": ("pvc://claim/a%00b", "write the path out"),
    "the same place by another name": ("pvc://claim/./x", "write the path out"),
    "a doubled slash": ("pvc://claim/a//x", "write the path out"),
    "a backslash": ("pvc://claim/a\\\\b", "write the path out"),
    "no claim": ("pvc:///x", ""),
    "no claim's name": ("pvc://Claim_1/x", ""),
    "an empty part of a claim's name": ("pvc://a.-b/x", ""),
    "a user and a password": ("s3://key:secret@bucket/x", "must not hold a user or a password"),
    "a user": ("https://me@host/x", ""),
    "a signed link": ("s3://bucket/x?X-Amz-Signature=0", "must not contain '?'"),
    "a fragment": ("pvc://claim/x#y", "must not contain '?'"),
    "a space": ("pvc://claim/a b", ""),
    "a line's end": ("pvc://claim/a\n", ""),
    "a host in a file's name": ("file://host/x", ""),
    "no scheme": ("/models/x", ""),
    "nothing": ("", ""),
}


def placed(where: tuple[str, Object, str], uri: str) -> tuple[str, Object]:
    kind, spec, path = where
    found = spec = copy.deepcopy(spec)
    *folders, field = path.split(".")
    for folder in folders:
        found = found.setdefault(folder, {})
    found[field] = uri
    return kind, spec


def said(kind: str, spec: Object) -> str:
    parsed, problems = KINDS[kind].spec_problems("x", spec)
    assert (parsed is None) == bool(problems)
    return "; ".join(problems)


def refusals(kind: str, spec: Object) -> tuple[list[str], str]:
    body = {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    return ADMISSION[kind].refusals(body), said(kind, spec)


@pytest.mark.parametrize("field", ALL)
@pytest.mark.parametrize("how", NOWHERE)
def test_what_leads_nowhere_or_elsewhere_is_refused_in_words(field, how):
    uri, words = NOWHERE[how]
    found = said(*placed(ALL[field], uri))
    assert found
    assert words in found


# The rules are the same objects everywhere, and the server's CEL is slow here: each way once, and each place once.
PLACES = [(field, "upwards") for field in ALL] + [("served model", how) for how in NOWHERE]
PLACES += [("output", how) for how in NOWHERE] + [("engines", how) for how in NOWHERE]


@pytest.mark.parametrize(("field", "how"), PLACES)
def test_admission_refuses_it_as_well(field, how):
    by_admission, by_operator = refusals(*placed(ALL[field], NOWHERE[how][0]))
    assert by_admission
    assert by_operator


@pytest.mark.parametrize("field", ALL)
def test_a_folder_on_a_claim_is_taken_everywhere(field):
    for uri in ("pvc://claim/path", "pvc://my.claim-2/a/b%20c/d.e_f"):
        assert refusals(*placed(ALL[field], uri)) == ([], "")


@pytest.mark.parametrize("field", READ)
@pytest.mark.parametrize("uri", ["s3://b/x", "https://h:8443/a/x.onnx", "hf://o/n@main/x", "file:///m/x"])
def test_what_can_be_read_is_taken_where_something_is_read(field, uri):
    assert refusals(*placed(READ[field], uri)) == ([], "")


OWN_IMAGE = {"TrainingJob": "trainer", "QuantizationJob": "worker", "InferenceService": "predictor"}


@pytest.mark.parametrize("field", READ | {name: WRITTEN[name] for name in ("output", "quantized")})
def test_a_store_that_no_image_of_ours_opens_needs_an_image(field):
    """gs:// was taken, and each pod found out for itself that it has no driver."""
    kind, spec = placed(ALL[field], "gs://b/x")
    assert "gs:// needs gcsfs, which the images of Slipway do not have" in said(kind, spec)
    spec.setdefault(OWN_IMAGE[kind], {})["image"] = "registry.example.com/with-gcsfs:1"
    assert refusals(kind, spec) == ([], "")


def test_a_runtime_may_bring_the_image_of_a_store():
    kind, spec = placed(WRITTEN["output"], "gs://b/x")
    assert said(kind, {**spec, "runtimeRef": {"name": "google"}}) == ""


@pytest.mark.parametrize("field", READ)
def test_a_moving_revision_is_refused_where_something_is_read(field):
    by_admission, by_operator = refusals(*placed(READ[field], "hf://owner/name"))
    assert by_admission
    assert "pin the revision" in by_operator


@pytest.mark.parametrize("field", WRITTEN | ON_DISK)
@pytest.mark.parametrize("uri", ["https://host/x", "hf://o/n@main", "pvc://claim", "pvc://claim/"])
def test_what_cannot_be_written_is_refused_where_something_is_written(field, uri):
    by_admission, by_operator = refusals(*placed(ALL[field], uri))
    assert by_admission
    assert by_operator


def test_a_pickle_is_not_served():
    by_admission, by_operator = refusals(*placed(READ["served model"], "pvc://claim/model.pt"))
    assert by_admission
    assert "pickle" in by_operator
