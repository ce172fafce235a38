"""Fine-tuning that goes on from what another TrainingJob makes: waited for, pinned once, never of the wrong one."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.reconcile.plan import Plan
from slipway.trainingjob.job import Cluster, Platform
from slipway.trainingjob.plan import plan

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
ARTIFACT = {"uri": "pvc://models/base", "digest": DIGEST}


def source(kind: str = "Succeeded", uid: str = "s", **artifact: Any) -> dict[str, Any]:
    status = {"conditions": [{"type": kind, "status": "True", "message": "why"}], "artifact": {**ARTIFACT, **artifact}}
    return {"metadata": {"name": "base", "namespace": "team", "uid": uid}, "status": status}


def look(job: dict[str, Any] | None, status: Any = None, of: str = "base", output: str = "pvc://models/t") -> Plan:
    recipe = {"model": {"name": "causal-lm", "from": {"trainingJob": of}}, "dataset": {"name": "sft"}}
    recipe["dataset"] |= {"uri": "pvc://data/chats", "format": "messages"}
    spec = {"recipe": recipe, "output": {"uri": output}, "numNodes": 1}
    metadata = {"name": "tune", "namespace": "team", "uid": "u", "generation": 1}
    obj = {"metadata": metadata, "spec": spec, "status": status or {}}
    return plan(obj, [], Platform("trainer:1"), NOW, cluster=Cluster(source=job))


def condition(decision: Plan, kind: str) -> dict[str, Any]:
    assert decision.status is not None
    return next((one for one in decision.status["conditions"] if one["type"] == kind), {})


def test_it_waits_for_a_job_that_is_not_there_and_then_for_that_very_one() -> None:
    missing = look(None)
    assert condition(missing, "Ready")["reason"] == "WaitingForSource"
    assert not missing.writes
    there = look(source("Progressing"), missing.status)
    assert there.status is not None
    assert there.status["model"] == {"source": "TrainingJob/base", "uid": "s"}
    gone = look(source(uid="another"), there.status)
    assert condition(gone, "Failed")["reason"] == "SourceFailed"
    assert "was deleted before it succeeded" in condition(gone, "Failed")["message"]


def test_what_was_made_is_pinned_before_a_pod_is_made_and_given_to_it_by_digest() -> None:
    pinned = look(source())
    assert pinned.persist_first
    assert not pinned.writes
    assert pinned.status is not None
    assert pinned.status["model"] == {**ARTIFACT, "source": "TrainingJob/base"}
    made = look(None, pinned.status)  # the source may go now
    text = json.dumps([write.manifest for write in made.writes])
    document = json.loads(
        next(write.manifest for write in made.writes if write.manifest["kind"] == "ConfigMap")["data"]["job.json"]
    )
    model = document["spec"]["recipe"]["model"]
    assert (model["uri"], model["digest"], "from" in model) == ("pvc://models/base", DIGEST, False)
    assert '"claimName": "models"' in text


@pytest.mark.parametrize(
    ("job", "of", "output", "words"),
    [
        (source("Failed"), "base", "pvc://models/t", "TrainingJob base failed: why"),
        (source(language={"kind": "lora-adapter"}), "base", "pvc://models/t", "set its output.merge to merged or both"),
        (source(), "base", "pvc://models/base", "would be replaced"),
        (None, "tune", "pvc://models/t", "this very job"),
    ],
)
def test_what_can_never_be_fails_at_once_in_words(job: Any, of: str, output: str, words: str) -> None:
    decision = look(job, of=of, output=output)
    assert words in condition(decision, "Failed")["message"]
    assert not decision.writes
