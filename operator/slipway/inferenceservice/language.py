"""A language model's service: adapters that jobs make, and memory that is planned before there is a pod. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from slipway.api.common.language import LanguageFacts
from slipway.api.common.quantity import parse_quantity
from slipway.api.common.resources import accelerators
from slipway.api.common.types import Reason
from slipway.api.serving import generation_memory
from slipway.api.serving.engine import EngineName
from slipway.api.serving.generation import CachePrecision, Generation
from slipway.api.serving.generation_memory import MemoryPlan
from slipway.api.serving.inferenceservice import RolloutOn
from slipway.inferenceservice.service import InferenceService
from slipway.reconcile.source import Pinned, Resolution, artifact_of, pinned_before
from slipway.reconcile.status import StatusDraft

Jobs = Mapping[str, Mapping[str, Any] | None]
KIND = "TrainingJob"
ADAPTER = "lora-adapter"
OPENVINO = "openvino-lm"


def adapter_jobs(service: Mapping[str, Any]) -> set[str]:
    """Names of the TrainingJobs whose adapters are served, read from an object that may not be valid."""
    predictor = (service.get("spec") or {}).get("predictor") or {}
    adapters = predictor.get("adapters") if isinstance(predictor, dict) else None
    sources = (one.get("from") for one in adapters or () if isinstance(one, dict))
    return {str(source.get("trainingJob")) for source in sources if isinstance(source, dict)}


@dataclass(frozen=True)
class Adapted:
    """A service whose adapters all have URI and digest, and the pins for its status; or why there are none yet."""

    service: InferenceService
    pins: tuple[Mapping[str, Any], ...] = ()
    waits: Resolution | None = None


def adapted(service: InferenceService, model: Pinned, status: Mapping[str, Any], jobs: Jobs) -> Adapted:
    """Pin the adapters that come from jobs. `jobs` by name, None for those that are not there."""
    of_model = _facts(model)
    if of_model is not None and of_model.kind == ADAPTER:
        message = f"{model.source} made an adapter alone: set its output.merge to merged, or name it in adapters"
        return Adapted(service, waits=Resolution(None, Reason.SOURCE_FAILED, message, final=True))
    if of_model is not None and of_model.kind == OPENVINO and service.spec.predictor.engine.name is EngineName.VLLM:
        message = f"{model.source} made OpenVINO's form of a model, which vLLM does not read: set engine.name to auto"
        return Adapted(service, waits=Resolution(None, Reason.SOURCE_FAILED, message, final=True))
    asked, pins, made = service.spec.predictor.adapters or [], [], []
    for one in asked:
        if one.from_ is None:
            made.append(one)
            continue
        found = _pinned(service, one.name, one.from_.training_job, status, jobs)
        if found.pinned is not None:
            found = _fitting(one.name, found.pinned, model) or found
        if found.pinned is None:
            return Adapted(service, waits=found)
        pins.append({"name": one.name, **found.pinned.wire()})
        made.append(one.model_copy(update={"from_": None, "uri": found.pinned.uri, "digest": found.pinned.digest}))
    if not pins:
        return Adapted(service)
    predictor = service.spec.predictor.model_copy(update={"adapters": made})
    return Adapted(replace(service, spec=service.spec.model_copy(update={"predictor": predictor})), tuple(pins))


def _pinned(service: InferenceService, name: str, job: str, status: Mapping[str, Any], jobs: Jobs) -> Resolution:
    known = next((pin for pin in status.get("adapters") or () if pin.get("name") == name), None)
    held = pinned_before(known, f"{KIND}/{job}")
    if held is not None and service.spec.rollout_on is RolloutOn.SPEC_CHANGE:
        return Resolution(held, Reason.SOURCE_READY, f"{KIND} {job}, pinned at {held.digest}")
    found = artifact_of(KIND, job, jobs.get(job))
    return Resolution(held, Reason.SOURCE_READY, found.message) if found.pinned is None and held is not None else found


def _fitting(name: str, adapter: Pinned, model: Pinned) -> Resolution | None:
    """A refusal, where what is known of adapter and model says that one is not the other's; else nothing."""
    facts, base = _facts(adapter), _facts(model)
    if facts is None:
        return None  # of a release that did not tell: the server looks before it is ready
    if facts.kind != ADAPTER:
        message = f"adapter {name}: {adapter.source} made a {facts.kind}: set its output.merge to adapter"
        return Resolution(None, Reason.ADAPTER_MISMATCH, message, final=True)
    known = {model.digest, base.quantized_from if base is not None else ""} - {"", None}
    if not model.digest or facts.base is None or facts.base in known or (base is None and model.source):
        return None
    message = (
        f"adapter {name}: {adapter.source} was trained on {facts.base}, and the service's model is {model.digest}: "
        "serve that model, or one that was quantized from it"
    )
    return Resolution(None, Reason.ADAPTER_MISMATCH, message, final=True)


def _facts(pinned: Pinned) -> LanguageFacts | None:
    try:
        return None if pinned.language is None else LanguageFacts.model_validate(pinned.language)
    except ValidationError:
        return None  # of another release


def planned(service: InferenceService, model: Pinned) -> tuple[MemoryPlan, int] | None:
    """The memory of a replica and a token's share of it, as its server will plan; None where that is not known.

    Raises DoesNotFit. vLLM takes what its device has left, which no manifest says.
    """
    facts, predictor = _facts(model), service.spec.predictor
    if facts is None or not facts.layers or predictor.engine.name is EngineName.VLLM:
        return None
    if accelerators(predictor.resources.asked):
        return None
    asked = predictor.generation or Generation()
    limit = (predictor.resources.limits or {}).get("memory")
    precision = asked.kv_cache.precision.value
    if asked.kv_cache.precision is CachePrecision.AUTO:
        precision = facts.cache_precision or CachePrecision.F16.value
    made = generation_memory.plan(
        facts,
        facts.weights_bytes,
        context=asked.max_model_length or facts.context_length,
        sequences=asked.max_sequences,
        batched_tokens=asked.max_batched_tokens,
        precision=precision,
        cache=asked.kv_cache.bytes,
        limit=int(parse_quantity(limit)) if limit is not None else None,
    )
    return made, generation_memory.cache_bytes_per_token(facts, precision)


def tell(plan: tuple[MemoryPlan, int] | None, revision: str, draft: StatusDraft) -> None:
    """Write status.generation: the plan, or what a pod of the newest revision has measured."""
    wire: dict[str, Any] = {}
    if plan is not None:
        made, token = plan
        wire = {"weightsBytes": made.weights, "workspaceBytes": made.workspace, "cacheBytes": made.cache}
        wire |= {"cacheBytesPerToken": token, "maxConcurrentTokens": made.cache_tokens}
    served = draft.fields.get("servedModel") or {}
    if served.get("revision") == revision and served.get("maxConcurrentTokens"):
        wire |= {"maxConcurrentTokens": served["maxConcurrentTokens"], "measured": True}
        if "cacheBytesPerToken" in wire:
            wire["cacheBytes"] = wire["cacheBytesPerToken"] * wire["maxConcurrentTokens"]
    if wire:
        draft.fields["generation"] = wire
    else:
        draft.unset("generation")
