"""Client: one call for each kind, in a cluster or, with `local=True`, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from slipway.api.codegen.crd import KINDS
from slipway.api.common.base import problems_of
from slipway.api.common.types import API_VERSION
from slipway.api.quantization import quantizationjob
from slipway.api.search import searchjob
from slipway.api.serving import inferenceservice
from slipway.api.training import trainingjob
from slipway.client.errors import ClientError, ExistsError
from slipway.client.errors import SpecError as WrongSpecError
from slipway.client.function import Function
from slipway.client.local_run import LocalRun

if TYPE_CHECKING:
    from slipway.client.connection import Connection
    from slipway.client.resource import InferenceService, QuantizationJob, SearchJob, TrainingJob

Object = dict[str, Any]
Model = Any
"""A job of this client, a URI, or a mapping as spec.model has it."""
_PROBLEMS = {
    "TrainingJob": trainingjob.spec_problems,
    "QuantizationJob": quantizationjob.spec_problems,
    "InferenceService": inferenceservice.spec_problems,
    "SearchJob": searchjob.spec_problems,
}
_WORDS = {
    word.lower(): kind
    for kind in KINDS
    if kind.kind in _PROBLEMS
    for word in (kind.kind, kind.plural, kind.singular, kind.short)
}


class Client:
    """Access to one namespace. The cluster is asked at the first call that needs it, so `local=True` needs none."""

    def __init__(
        self,
        namespace: str = "",
        *,
        kubeconfig: str | Path = "",
        context: str = "",
        local_folder: str | Path = "slipway-local",
    ) -> None:
        """Keep what to connect to: kubectl's own choice where unset, and in a pod its service account."""
        self._known = (namespace, kubeconfig, context)
        self._connected: Connection | None = None
        self._folder = Path(local_folder)

    def train(  # noqa: PLR0913 (a call's options, all by name)
        self,
        name: str,
        *,
        func: Callable[..., Any] | Function | None = None,
        func_args: Mapping[str, Any] | None = None,
        packages: Sequence[str] = (),
        image: str | None = None,
        env: Mapping[str, str] | None = None,
        resources: Mapping[str, Any] | None = None,
        local: bool = False,
        processes: int = 1,
        **spec: Any,
    ) -> TrainingJob | LocalRun:
        """Train by a function, a `recipe` or a `trainer` with a command of its own.

        `func` travels as its source, with `func_args` (JSON values) and after pip has installed `packages`, and runs in
        each process of `num_nodes` nodes. `resources`: of a node, limits unless `limits` or `requests` are named.
        `spec`: other fields of a TrainingJob's spec, in Python's or the manifest's spelling; `output` and `checkpoint`
        may be URIs. `processes`: of a run on this machine. Raises FunctionError, SpecError, ExistsError and others.
        """
        trainer = dict(spec.pop("trainer", None) or {})
        if func is not None:
            function = func if isinstance(func, Function) else Function(func, func_args or {}, packages)
            trainer["command"] = function.command()
        elif func_args or packages:
            raise WrongSpecError(["func_args and packages belong to func: give a function"])
        asked = {"image": image, "env": _env(env), "resourcesPerNode": _resources(resources)}
        trainer.update({key: value for key, value in asked.items() if value})
        spec = {**spec, **_uris(spec, "output", "checkpoint"), **({"trainer": trainer} if trainer else {})}
        return cast("TrainingJob | LocalRun", self._start("TrainingJob", name, spec, local=local, processes=processes))

    def quantize(
        self,
        name: str,
        *,
        model: Model,
        resources: Mapping[str, Any] | None = None,
        local: bool = False,
        **spec: Any,
    ) -> QuantizationJob | LocalRun:
        """Make a model small under a gate. `model`: a job, a URI or a mapping. `spec`: as for `train`."""
        spec = {**spec, **_uris(spec, "output"), "model": _model(model)}
        if resources:
            spec["worker"] = {**(spec.get("worker") or {}), "resources": _resources(resources)}
        return cast("QuantizationJob | LocalRun", self._start("QuantizationJob", name, spec, local=local))

    def search(
        self, name: str, *, template: Mapping[str, Any], parameters: Sequence[Mapping[str, Any]], **spec: Any
    ) -> SearchJob:
        """Search parameters of a training. `template`: spec of a TrainingJob. `spec`: other fields, as for `train`."""
        spec = {**spec, "template": dict(template), "parameters": [dict(one) for one in parameters]}
        return cast("SearchJob", self._start("SearchJob", name, spec, local=False))

    def serve(
        self,
        name: str,
        *,
        model: Model,
        resources: Mapping[str, Any] | None = None,
        service: Mapping[str, Any] | None = None,
        local: bool = False,
        **predictor: Any,
    ) -> InferenceService | LocalRun:
        """Serve a model. `predictor`: other fields of spec.predictor; `service`: other fields of the spec."""
        predictor = {**predictor, "model": _model(model)}
        if resources:
            predictor["resources"] = _resources(resources)
        spec = {**(service or {}), "predictor": predictor}
        return cast("InferenceService | LocalRun", self._start("InferenceService", name, spec, local=local))

    def apply(self, document: Object, *, local: bool = False) -> Any:
        """Start a manifest's document as it is, as `kubectl create` would. Returns the object or the run."""
        kind, name = str(document.get("kind")), str((document.get("metadata") or {}).get("name") or "")
        return self._start(_kind(kind).kind, name, dict(document.get("spec") or {}), local=local, like=document)

    def get(self, kind: str, name: str) -> Any:
        """An object by kind (as kubectl takes it) and name. Raises MissingError."""
        from slipway.client.resource import held

        return held(self._connection, self._connection.get(_kind(kind).plural, name))

    def list(self, kind: str, selector: str = "") -> list[Any]:
        """All objects of a kind in the namespace, those with these labels alone if given."""
        from slipway.client.resource import held

        found = _kind(kind)
        objects = self._connection.objects(found.plural, selector)
        return [held(self._connection, {"kind": found.kind, **one}) for one in objects]

    @property
    def _connection(self) -> Connection:
        if self._connected is None:
            try:
                from slipway.client.connection import Connection
            except ImportError as error:
                raise ClientError(f"{error}: install the extra client, or use local=True") from None
            self._connected = Connection(*self._known)
        return self._connected

    def _start(
        self, kind: str, name: str, spec: Object, *, local: bool, processes: int = 1, like: Object | None = None
    ) -> Any:
        document = _document(kind, name, spec, like)
        if local:
            return LocalRun(document, self._folder, processes)
        from slipway.client.resource import held

        plural = _kind(kind).plural
        try:
            return held(self._connection, self._connection.create(plural, document))
        except ExistsError:
            there = self._connection.get(plural, name)
            if not _within(document["spec"], there["spec"]):
                raise ExistsError(
                    f"{kind} {name} is there already, with another spec: delete it, or choose another name"
                ) from None
            return held(self._connection, there)


def _document(kind: str, name: str, spec: Object, like: Object | None) -> Object:
    """Manifest with what was set and nothing else. Raises SpecError."""
    try:
        parsed = _kind(kind).spec.model_validate(spec)
    except ValidationError as error:
        raise WrongSpecError(problems_of(error)) from None
    wire = parsed.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    _, problems = _PROBLEMS[kind](name, wire)
    if problems:
        raise WrongSpecError(problems)
    metadata = (like or {}).get("metadata") or {}
    kept = {key: metadata[key] for key in ("labels", "annotations") if key in metadata}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {**kept, "name": name}, "spec": wire}


def _kind(word: str) -> Any:
    found = _WORDS.get(word.lower())
    if found is None:
        raise WrongSpecError([f"{word or 'nothing'} is no kind of Slipway's: {', '.join(_PROBLEMS)}"])
    return found


def _model(model: Model) -> Object:
    if isinstance(model, str):
        return {"uri": model}
    if isinstance(model, Mapping):
        return dict(model)
    kind, name = getattr(model, "kind", None), getattr(model, "name", None)
    if kind in ("TrainingJob", "QuantizationJob", "SearchJob"):
        return {"from": {kind[0].lower() + kind[1:]: name}}
    raise WrongSpecError(
        [f"model is {model!r}: give a TrainingJob, a QuantizationJob, a SearchJob, a URI, or a mapping"]
    )


def _resources(resources: Mapping[str, Any] | None) -> Object:
    if not resources:
        return {}
    named = {"limits", "requests", "claims"} & set(resources)
    found = dict(resources) if named else {"limits": dict(resources)}
    return {
        key: {name: str(amount) for name, amount in value.items()} if isinstance(value, Mapping) else value
        for key, value in found.items()
    }


def _env(env: Mapping[str, str] | None) -> list[Object]:
    return [{"name": name, "value": str(value)} for name, value in (env or {}).items()]


def _uris(spec: Object, *fields: str) -> Object:
    """Fields that are URIs, as the manifest has them."""
    return {field: {"uri": spec[field]} for field in fields if isinstance(spec.get(field), str)}


def _within(wanted: Any, there: Any) -> bool:
    """Tell whether an object has all that is wanted, beside what the server filled in."""
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(
            key in there and _within(value, there[key]) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(there, list) and len(wanted) == len(there) and all(map(_within, wanted, there))
    return bool(wanted == there)
