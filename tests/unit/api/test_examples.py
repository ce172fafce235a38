"""The examples are right: the schema, the rules and the models take them, and nothing in them is unknown."""

from pathlib import Path

import pytest
import yaml

from slipway.api.codegen.crd import KINDS, TEMPLATES
from slipway.api.common.types import API_VERSION
from tests.unit.api.admission import Admission, unknown_fields

EXAMPLES = Path(__file__).parents[3] / "manifests" / "examples"
ADMISSIONS = {kind.kind: Admission(kind) for kind in (*KINDS, *TEMPLATES)}
DOCUMENTS = [
    pytest.param(document, id=f"{path.stem}-{document['metadata']['name']}")
    for path in sorted(EXAMPLES.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document and document["apiVersion"] == API_VERSION
]


def test_there_are_examples():
    assert len(DOCUMENTS) >= 4


@pytest.mark.parametrize("document", DOCUMENTS)
def test_admission_takes_it_as_it_stands(document):
    admission = ADMISSIONS[document["kind"]]
    assert unknown_fields(document, admission.schema) == []
    assert admission.refusals(document) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_operator_takes_it(document):
    kind = next(kind for kind in (*KINDS, *TEMPLATES) if kind.kind == document["kind"])
    kind.spec.model_validate(document["spec"])
