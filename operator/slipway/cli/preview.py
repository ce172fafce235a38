"""Preview of what would be created: the operator's own pure plans, asked without a cluster. For `slipway plan`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from slipway.api.common.quantity import parse_quantity
from slipway.api.common.types import API_VERSION
from slipway.api.quantization import quantizationjob
from slipway.api.search import searchjob
from slipway.api.search.status import TrialState
from slipway.api.serving import inferenceservice
from slipway.api.training import runtime as runtime_api
from slipway.api.training import trainingjob
from slipway.api.training.memory import Estimate
from slipway.cli.views.lineage import source_of
from slipway.config import Config
from slipway.inferenceservice import plan as serving
from slipway.inferenceservice import service
from slipway.inferenceservice.autoscale import size_of
from slipway.inferenceservice.state import Observed
from slipway.quantizationjob import job as quantizing
from slipway.quantizationjob import plan as quantization
from slipway.reconcile.plan import Plan
from slipway.searchjob import children as trials
from slipway.searchjob import job as searching
from slipway.searchjob.record import Record
from slipway.trainingjob import job as training
from slipway.trainingjob import plan as training_plan
from slipway.trainingjob import runtime as runtimes
from slipway.trainingjob.strategy import estimates_for

Object = dict[str, Any]
# Of an artifact that does not exist yet.
ASSUMED_DIGEST = "sha256:" + "0" * 64
# A plan may first persist a decision and create only at the next look.
LOOKS = 4


@dataclass
class Preview:
    """Preview of one document: what is wrong with it, what would be made of it, and what had to be assumed."""

    kind: str
    name: str
    problems: list[str] = field(default_factory=list)
    creates: list[Object] = field(default_factory=list)
    assumes: list[str] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    memory: list[Estimate] = field(default_factory=list)
    fills: list[str] = field(default_factory=list)
    """What a runtime fills in, field by field."""


def preview(documents: Sequence[Object], config: Config, now: datetime | None = None) -> list[Preview]:
    """Previews of the documents of ours, in order; sources are looked for among the documents, and assumed to have
    succeeded.
    """
    moment = now or datetime.now(UTC)
    ours = [document for document in documents if document.get("apiVersion") == API_VERSION]
    return [_one(document, ours, config, moment) for document in ours]


def _one(document: Object, others: Sequence[Object], config: Config, now: datetime) -> Preview:
    kind, metadata = str(document.get("kind")), document.get("metadata") or {}
    found = Preview(kind, str(metadata.get("name", "")))
    check = _CHECKS.get(kind)
    if check is None:
        found.problems.append(f"kind: {kind} is no kind of {API_VERSION}: {', '.join(_CHECKS)}")
        return found
    if not found.name:
        found.problems.append("metadata.name: required: set it")
        return found
    spec, problems = check(found.name, document.get("spec") or {})
    found.problems += problems
    runtime = None
    if isinstance(spec, trainingjob.TrainingJobSpec):
        runtime = _runtime(spec, document, others, found)
        found.memory = _memory(runtimes.settle(spec, runtime).spec)
    if isinstance(spec, searchjob.SearchJobSpec):
        found.creates, found.assumes = _first_trial(document, spec, config)
    elif not found.problems and kind not in runtime_api.MODELS:
        _look(document, others, config, now, found, runtime)
    return found


def _first_trial(document: Object, spec: searchjob.SearchJobSpec, config: Config) -> tuple[list[Object], list[str]]:
    """Children of a trial whose parameters are the first of each range; a sampler is not asked."""
    metadata = {"namespace": "default", **document["metadata"], "uid": "not-yet"}
    job = searching.identify({**document, "metadata": metadata}, spec)
    record = Record(0, TrialState.PENDING, {one.path: one.ends[0] for one in spec.parameters})
    creates = [trials.trial(job, record)]
    if spec.constraints:
        platform = searching.Platform(config.quantizer_image)
        creates = [trials.config_map(job), trials.bench_pod(job, record, platform), *creates]
    words = ", ".join(f"{path} {value}" for path, value in record.parameters.items())
    return creates, [f"one of {spec.max_trials} trials, with {words}"]


def _runtime(
    spec: trainingjob.TrainingJobSpec, document: Object, others: Sequence[Object], found: Preview
) -> Object | None:
    """Copy of the runtime that the job names, as its status will have it; {} for one that is not in the file."""
    ref = spec.runtime_ref
    if ref is None:
        return None
    home = (document.get("metadata") or {}).get("namespace", "default")
    given = runtimes.find(ref, home, others)
    if given is None:
        found.assumes.append(f"{ref.kind} {ref.name}, which is not in this file, is in the cluster and says nothing")
        return {"kind": ref.kind.value, "name": ref.name}
    copied, problems = runtimes.read(ref, given)
    settled = runtimes.settle(spec, copied)
    found.problems += [*problems, *settled.problems]
    if copied is None:
        return None
    if not settled.problems:
        found.fills = [f"{path} from {ref.kind} {ref.name}" for path in runtimes.filled(spec, copied)]
    return copied


def _memory(spec: trainingjob.TrainingJobSpec) -> list[Estimate]:
    """Memory estimates by strategy, where the spec says how large model and GPU are; else none."""
    strategy = spec.strategy
    if strategy is None or strategy.model is None or strategy.gpu_memory is None:
        return []
    return estimates_for(spec, strategy.model, int(parse_quantity(strategy.gpu_memory)))


def _look(
    document: Object,
    others: Sequence[Object],
    config: Config,
    now: datetime,
    found: Preview,
    runtime: Object | None,
) -> None:
    metadata = {"namespace": "default", **document["metadata"], "uid": "not-yet", "generation": 1}
    # As at the second look: the first one persists the runtime.
    status = {"observedGeneration": -1} if runtime is None else {"observedGeneration": 1, "runtime": runtime}
    obj: Object = {**document, "metadata": metadata, "status": status}
    source = _source(document, others, found)
    for _ in range(LOOKS):
        decided = _plan(obj, source, config, now)
        obj = {**obj, "status": decided.status or obj["status"]}
        if decided.writes:
            found.creates = [write.manifest for write in decided.writes]
            break
    found.status = obj["status"]


def _plan(obj: Object, source: Object | None, config: Config, now: datetime) -> Plan:
    if obj["kind"] == training.KIND:
        trains = training.Platform(config.trainer_image, gpu_image=config.trainer_gpu_image)
        return training_plan.plan(obj, [], trains, now, cluster=training.Cluster(source=source))
    if obj["kind"] == quantizing.KIND:
        return quantization.plan(obj, [], source, quantizing.Platform(config.quantizer_image), now)
    spec = inferenceservice.InferenceServiceSpec.model_validate(obj["spec"])
    size = size_of(spec, obj["status"], [], None, [], now)
    serves = service.Platform(config.server_image, gpu_image=config.server_gpu_image)
    return serving.plan(obj, Observed([], [], {}, source), size, serves, now)


def _source(document: Object, others: Sequence[Object], found: Preview) -> Object | None:
    """The resource that the model comes from, as it will be when it has succeeded."""
    wanted = source_of(document)
    if wanted is None:
        return None
    given = next((o for o in others if (o.get("kind"), (o.get("metadata") or {}).get("name")) == wanted), None)
    uri = ((given or {}).get("spec") or {}).get("output", {}).get("uri") or f"pvc://unknown/{wanted[1]}"
    where = "of this file" if given else "in the cluster"
    found.assumes.append(f"{wanted[0]} {wanted[1]} {where} succeeds with {uri}")
    status = {
        "conditions": [{"type": "Succeeded", "status": "True", "reason": "Succeeded"}],
        "artifact": {"uri": uri, "digest": ASSUMED_DIGEST},
    }
    metadata = {"name": wanted[1], "namespace": "default", "uid": "assumed", "generation": 1}
    return {"kind": wanted[0], "metadata": metadata, "spec": {}, "status": status}


def _runtime_problems(kind: str, _: str, spec: Object) -> tuple[Any, list[str]]:
    return runtime_api.runtime_problems(kind, spec)


Check = Callable[[str, dict[str, Any]], tuple[Any, list[str]]]
_CHECKS: Mapping[str, Check] = {
    training.KIND: trainingjob.spec_problems,
    quantizing.KIND: quantizationjob.spec_problems,
    searching.KIND: searchjob.spec_problems,
    service.KIND: inferenceservice.spec_problems,
    **{kind: partial(_runtime_problems, kind) for kind in runtime_api.MODELS},
}
