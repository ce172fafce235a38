"""SearchJobs that are wrong, with the words that the user must be told. Read by the unit and the API tests."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from tests.unit.api.manifests import merged

Object = dict[str, Any]

RIGHT: Object = {
    "template": {
        "numProcPerNode": 1,
        "recipe": {"model": {"name": "cnn"}, "dataset": {"name": "digits"}},
        "output": {"uri": "pvc://models/search"},
    },
    "parameters": [
        {"path": "recipe.model.width", "int": {"min": 4, "max": 32, "step": 4}},
        {"path": "recipe.optimizer.name", "categorical": ["sgd", "adamw"]},
    ],
    "constraints": [{"metric": "p50Milliseconds", "max": 2.0}],
}


class Wrong(NamedTuple):
    """A way to get a SearchJob wrong: a merge patch to RIGHT."""

    name: str
    patch: Object
    words: str
    by: str = "cel"
    """Place of the refusal: `schema` (every server), `cel` (1.25 and later), `operator` (only the reconcile)."""
    job_name: str = "s"

    @property
    def spec(self) -> Object:
        """The wrong spec."""
        return merged(RIGHT, self.patch)

    @property
    def manifest(self) -> Object:
        """The wrong object."""
        return {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "SearchJob",
            "metadata": {"name": self.job_name, "namespace": "default"},
            "spec": copy.deepcopy(self.spec),
        }


def _one(path: str, **kind: Any) -> Object:
    return {"parameters": [{"path": path, **kind}]}


def _lr(**ends: Any) -> Object:
    return _one("recipe.optimizer.learningRate", float={"min": 0.001, "max": 1.0, **ends})


_OWN = {"recipe": None, "trainer": {"image": "x", "command": ["train"]}}

WRONG = (
    Wrong("no parameter", {"parameters": []}, "at least 1 item", "schema"),
    Wrong("a path to the search's own business", _one("runPolicy.suspend", categorical=["true"]), "path", "schema"),
    Wrong("a step of no name", _one("recipe..width", int={"min": 4, "max": 8}), "path", "schema"),
    Wrong("no values", _one("recipe.model.width"), "exactly one of float, int, categorical"),
    Wrong("two kinds of values", _one("recipe.epochs", int={"min": 4, "max": 8}, categorical=["4"]), "exactly one"),
    Wrong("ends exchanged", _lr(min=2.0), "min is larger than max"),
    Wrong("int ends exchanged", _one("recipe.epochs", int={"min": 9, "max": 3}), "min is larger than max"),
    Wrong("logarithm of nothing", _lr(min=0.0, log=True), "log needs a min above 0"),
    Wrong("log with steps", _lr(log=True, step=0.1), "remove one of them"),
    Wrong("no output", {"template": {"output": None}}, "template.output"),
    Wrong("a template that stands still", {"template": {"runPolicy": {"suspend": True}}}, "runPolicy.suspend"),
    Wrong("a template that is wrong itself", {"template": {"recipe": None}}, "exactly one of recipe"),
    Wrong("measured without a recipe", {"template": _OWN, **_one("trainer.env.LR", float={"min": 0.1, "max": 1.0})},
          "constraints are measured on a recipe's model"),
    Wrong("nsga2 of one objective", {"algorithm": "nsga2", "constraints": []}, "nsga2 weighs the objective"),
    Wrong("a grid without end", {"algorithm": "grid", **_lr()}, "ranges that can be counted"),
    Wrong("stopped twice", {"algorithm": "hyperband", "earlyStopping": {}}, "hyperband stops trials by itself"),
    Wrong("one figure twice", {"constraints": [{"metric": "flops", "max": 1.0}, {"metric": "flops", "max": 2.0}]},
          "one figure twice"),
    Wrong("more trials than a status holds", {"maxTrials": 301}, "maxTrials", "schema"),
    Wrong("a field that is not there", _one("recipe.model.widht", int={"min": 4, "max": 8}),
          "no field recipe.model.widht", "operator"),
    Wrong("an end that the field refuses", _one("recipe.model.width", int={"min": 1, "max": 8}),
          "1 is refused: recipe.model.width", "operator"),
    Wrong("a choice that the field refuses", _one("recipe.optimizer.name", categorical=["sgd", "adam"]),
          '"adam" is refused', "operator"),
    Wrong("numbers for a whole number", _one("recipe.epochs", float={"min": 1.0, "max": 3.0}),
          "valid integer", "operator"),
    Wrong("an object for a value", _one("recipe.model", int={"min": 1, "max": 3}), "is an object", "operator"),
    Wrong("a name that leaves no room for pods", {}, "shorten it", "schema", "s" * 44),
)  # fmt: skip
