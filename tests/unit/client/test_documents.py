"""Calls of the client as manifests: both spellings, short forms, references; wrong ones are refused before all else."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.client import AsyncClient, Client, SpecError, client
from slipway.client.prediction import Prediction

GATE = {
    "calibration": {"dataset": {"name": "digits"}},
    "evaluation": {"dataset": {"name": "digits"}},
    "output": "pvc://claim/int8",
}
RECIPE = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "epochs": 1, "globalBatchSize": 32}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Documents that would be created."""
    made: list[dict[str, Any]] = []

    class Server:
        def create(self, plural: str, document: dict[str, Any]) -> dict[str, Any]:
            made.append(document)
            return {**document, "metadata": {**document["metadata"], "uid": "1"}}

    monkeypatch.setattr(client.Client, "_connection", Server())
    return made


def test_both_spellings_and_short_forms(sent: list[dict[str, Any]]) -> None:
    Client().train(
        "digits",
        recipe={**RECIPE, "optimizer": {"learning_rate": 0.1}},
        num_nodes=2,
        resources={"cpu": 1, "memory": "2Gi"},
        env={"A": "1"},
        output="pvc://claim/digits",
        checkpoint={"uri": "pvc://claim/states", "every_steps": 5},
        runPolicy={"suspend": True},
    )
    spec = sent[0]["spec"]
    assert spec["numNodes"] == 2
    assert spec["recipe"]["optimizer"] == {"learningRate": 0.1}
    assert spec["trainer"] == {
        "resourcesPerNode": {"limits": {"cpu": "1", "memory": "2Gi"}},
        "env": [{"name": "A", "value": "1"}],
    }
    assert spec["output"] == {"uri": "pvc://claim/digits"}
    assert spec["checkpoint"] == {"uri": "pvc://claim/states", "everySteps": 5}
    assert spec["runPolicy"] == {"suspend": True}
    assert "launcher" not in spec, "only what was set travels: the server fills in the rest"


def test_jobs_are_given_by_reference(sent: list[dict[str, Any]]) -> None:
    one = Client()
    job = one.train("digits", recipe=RECIPE)
    small = one.quantize("digits-int8", model=job, **GATE)
    one.serve("digits", model=small, resources={"cpu": 1})
    one.serve("other", model="pvc://claim/model")
    assert [document["spec"].get("model") for document in sent] == [
        None,
        {"from": {"trainingJob": "digits"}},
        None,
        None,
    ]
    assert sent[2]["spec"]["predictor"]["model"] == {"from": {"quantizationJob": "digits-int8"}}
    assert sent[3]["spec"]["predictor"]["model"] == {"uri": "pvc://claim/model"}


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: c.train("digits"), "exactly one of recipe"),
        (lambda c: c.train("Digits", recipe=RECIPE), "lower case"),
        (lambda c: c.train("digits", recipe=RECIPE, nodes=3), "spec.nodes: unknown field"),
        (lambda c: c.train("digits", recipe={**RECIPE, "epochs": 0}), "spec.recipe.epochs"),
        (lambda c: c.train("digits", func_args={"a": 1}), "belong to func"),
        (lambda c: c.train("digits", recipe=RECIPE, output="elsewhere"), "spec.output.uri"),
        (lambda c: c.quantize("q", model=3, output="pvc://c/q"), "give a TrainingJob"),
        (lambda c: c.serve("s", model="ftp://x/y"), "uri"),
        (lambda c: c.list("Pod"), "no kind of Slipway's"),
        (lambda c: c.apply({"kind": "Deployment", "metadata": {"name": "x"}}), "no kind of Slipway's"),
    ],
)
def test_wrong_calls_are_refused_in_words(call: Any, says: str, sent: list[dict[str, Any]]) -> None:
    with pytest.raises(SpecError, match=says):
        call(Client())
    assert not sent


def test_a_tensor_is_made_of_lists_with_the_models_own_types() -> None:
    asked: list[Any] = []

    def ask(method: str, path: str, body: bytes | None, kind: str) -> bytes:
        asked.append((method, path, body))
        if method == "GET":
            return b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]}'
        return b'{"outputs": [{"name": "y", "shape": [2, 1, 2], "data": [1, 2, 3, 4]}]}'

    assert Prediction(ask, "m").predict([[1, 2], [3, 4]]) == {"y": [[[1, 2]], [[3, 4]]]}
    assert asked[1][2] == b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}]}'
    for wrong, says in (
        ({"z": [1]}, "no input z"),
        ([[1], [2, 3]], "ragged"),
        (1.5, "single float"),
        (None, "give one"),
    ):
        with pytest.raises(SpecError, match=says):
            Prediction(ask, "m").predict(wrong)


async def test_the_asynchronous_client_has_the_same_calls(sent: list[dict[str, Any]]) -> None:
    job = await AsyncClient().train("digits", recipe=RECIPE)
    await AsyncClient().quantize("small", model=job, **GATE)
    assert sent[1]["spec"]["model"] == {"from": {"trainingJob": "digits"}}
