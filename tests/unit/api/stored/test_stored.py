"""Objects that a release has stored are valid in every later one: their specs, and the statuses that it wrote.

Each release has a file here, copied from the examples and from real statuses when it was made, and never edited: etcd
keeps what was written, and nobody converts it before the operator reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from slipway import __version__
from slipway.api.codegen.crd import KINDS
from slipway.api.quantization.quantizationjob import spec_problems as quantization_problems
from slipway.api.search.searchjob import spec_problems as search_problems
from slipway.api.serving.inferenceservice import spec_problems as service_problems
from slipway.api.training.trainingjob import spec_problems as training_problems
from slipway.install import yaml_files
from tests.cluster.paths import REPOSITORY
from tests.unit.api.admission import unknown_fields

STORED = Path(__file__).parent
PROBLEMS = {
    "TrainingJob": training_problems,
    "QuantizationJob": quantization_problems,
    "InferenceService": service_problems,
    "SearchJob": search_problems,
}
CRDS = [yaml_files.document(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*s.yaml"))]
SCHEMAS = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in CRDS}
STATUS = {kind.kind: kind.status for kind in KINDS}
OBJECTS = [
    pytest.param(document, id=f"{path.stem}-{document['kind']}-{document['metadata']['name']}-{number}")
    for path in sorted(STORED.glob("v*.yaml"))
    for number, document in enumerate(yaml.safe_load_all(path.read_text()))
]


def test_every_release_has_left_its_objects() -> None:
    """A release is made by copying: without its folder nothing would hold the next one to what it has stored."""
    assert (STORED / f"v{__version__}.yaml").is_file()
    assert {document.values[0]["kind"] for document in OBJECTS} >= set(PROBLEMS)  # type: ignore[index]


@pytest.mark.parametrize("document", OBJECTS)
def test_a_stored_object_is_as_valid_as_it_was(document: dict[str, Any]) -> None:
    kind = document["kind"]
    assert unknown_fields(document, SCHEMAS[kind]) == [], "a field that is gone would be dropped at the next write"
    if (problems := PROBLEMS.get(kind)) is not None:
        _, found = problems(document["metadata"]["name"], document["spec"])
        invalid = [c for c in (document.get("status") or {}).get("conditions", []) if c["reason"] == "InvalidSpec"]
        assert bool(found) == bool(invalid), found


@pytest.mark.parametrize("document", [each for each in OBJECTS if each.values[0].get("status")])  # type: ignore[attr-defined]
def test_a_stored_status_is_read_as_it_was_written(document: dict[str, Any]) -> None:
    model = STATUS[document["kind"]]
    assert model is not None
    parsed = model.model_validate(document["status"])
    assert {c.type for c in parsed.conditions} == {c["type"] for c in document["status"]["conditions"]}  # type: ignore[attr-defined]
