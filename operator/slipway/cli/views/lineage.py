"""Lineage of resources, from the data set to the service: which is made from which. Pure; drawn by screen.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Object = Mapping[str, Any]


@dataclass
class Link:
    """One node of the tree: what it is, and what was made from it. `obj` is None for data and for files."""

    title: str
    obj: Object | None = None
    made: list["Link"] = field(default_factory=list)

    def wire(self) -> dict[str, Any]:
        """JSON of the link and of all that was made from it; titles only."""
        return {"title": self.title, "made": [link.wire() for link in self.made]}


def lineage(focus: Object, resources: Sequence[Object]) -> Link:
    """The tree that `focus` stands in, from its origin on; other resources made from the same are in it, too."""
    known = {(obj["kind"], obj["metadata"]["name"]): obj for obj in resources}
    first, seen = focus, set()
    while (source := source_of(first)) in known and source not in seen:
        seen.add(source)
        first = known[source]
    return Link(_origin(first), None, [_made_from(first, resources)])


def source_of(obj: Object) -> tuple[str, str] | None:
    """Kind and name of the resource that a resource takes its model from."""
    spec = obj.get("spec") or {}
    places = (spec, spec.get("predictor") or {}, spec.get("recipe") or {})
    source: Mapping[str, Any] = next(
        (place["model"]["from"] for place in places if (place.get("model") or {}).get("from")), {}
    )
    if source.get("quantizationJob"):
        return "QuantizationJob", source["quantizationJob"]
    if source.get("searchJob"):
        return "SearchJob", source["searchJob"]
    return ("TrainingJob", source["trainingJob"]) if source.get("trainingJob") else None


def _made_from(obj: Object, resources: Sequence[Object], above: tuple[Object, ...] = ()) -> Link:
    """Subtree of a resource and all that is made from it. `above` ends what a typing error has made a circle."""
    key, path = (obj["kind"], obj["metadata"]["name"]), (*above, obj)
    made = [other for other in resources if source_of(other) == key and other not in path]
    children = [_made_from(other, resources, path) for other in made]
    return Link(f"{obj['kind']}/{obj['metadata']['name']}", obj, children)


def _origin(obj: Object) -> str:
    spec = obj.get("spec") or {}
    source = source_of(obj)
    if source is not None:
        return f"{source[0]}/{source[1]} (not there)"
    model = spec.get("model") or (spec.get("predictor") or {}).get("model") or {}
    if model.get("uri"):
        return f"model {model['uri']}"
    spec = spec.get("template") or spec
    dataset = (spec.get("recipe") or {}).get("dataset")
    if dataset:
        return f"data set {dataset.get('name', '?')}" + (f" at {dataset['uri']}" if dataset.get("uri") else "")
    return f"data of {(spec.get('trainer') or {}).get('image') or 'its own image'}"
