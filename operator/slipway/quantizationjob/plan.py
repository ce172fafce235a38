"""Plan for a QuantizationJob now: (object, pods, source, now) -> Plan. Pure; called by reconcile.py.

The life of a stage's pods is slipway.gang.lifecycle; here is what comes before: the spec, the source, the stage.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from slipway.api.common.types import Reason
from slipway.api.quantization.quantizationjob import QuantizationJobSpec, spec_problems
from slipway.api.quantization.status import FIRST_STAGE, Stage
from slipway.gang import lifecycle
from slipway.gang.state import GangState
from slipway.quantizationjob import status
from slipway.quantizationjob.gang import StageGang
from slipway.quantizationjob.job import Platform, identify
from slipway.quantizationjob.pods import CONTAINER
from slipway.reconcile.plan import Notice, Plan
from slipway.reconcile.pods.observed import observe_pod
from slipway.reconcile.source import Pinned, Resolution, artifact_of, pinned_before
from slipway.reconcile.status import StatusDraft


class OtherPods(NamedTuple):
    """Pods of deleted jobs of the same name, and pods of the job that are gone."""

    predecessors: Sequence[Mapping[str, Any]]
    deleted_pods: Sequence[Mapping[str, Any]]


NO_OTHERS = OtherPods((), ())


def plan(
    obj: Mapping[str, Any],
    children: Sequence[Mapping[str, Any]],
    source: Mapping[str, Any] | None,
    platform: Platform,
    now: datetime,
    *,
    others: OtherPods = NO_OTHERS,
    progress: Mapping[str, Any] | None = None,
) -> Plan:
    """Decide. `source` is the job that the spec names, as the cache has it, or None; `progress` is the newest
    report of the pods, or None.
    """
    metadata = obj["metadata"]
    if lifecycle.left_alone(obj):
        return Plan()
    draft = StatusDraft(obj.get("status"), metadata.get("generation") or 1, now)
    spec, problems = spec_problems(metadata["name"], obj.get("spec") or {})
    if spec is None:
        return lifecycle.invalid(draft, problems)
    found = _source(spec, draft, source)
    if not draft.run.finished:
        if found.pinned is None:
            return _waiting(spec, draft, source, found)
        if found.pinned.uri == spec.output.uri:
            problem = f"spec.output.uri: the artifact of {found.pinned.source} lies there, and would be replaced"
            return lifecycle.invalid(draft, [problem])
        draft.condition("SourceReady", "True", found.reason, found.message)
        if draft.fields.get("source") != found.pinned.wire():
            status.pin(found.pinned, draft)
            status.begin(FIRST_STAGE, 0, draft)
            draft.progressing(found.reason, found.message)
            return Plan(status=draft.done(), persist_first=True)
    stage, step = Stage(draft.fields.get("stage") or FIRST_STAGE), draft.fields.get("step") or 0
    gang = StageGang(identify(obj, spec, found.pinned or Pinned("", "")), stage, step, platform)
    pods = tuple(observe_pod(pod, now, CONTAINER) for pod in children)
    earlier = tuple(observe_pod(pod, now, CONTAINER) for pod in others.predecessors)
    gone = tuple(observe_pod(pod, now, CONTAINER) for pod in others.deleted_pods)
    return lifecycle.decide(GangState(gang, pods, earlier, draft, now, deleted_pods=gone), progress)


def _source(spec: QuantizationJobSpec, draft: StatusDraft, job: Mapping[str, Any] | None) -> Resolution:
    if spec.model.from_ is None:
        pinned = Pinned(spec.model.uri or "", spec.model.digest or "")
        return Resolution(pinned, Reason.SOURCE_READY, f"quantizing {pinned.uri}")
    kind, name = spec.model.from_.named
    held = pinned_before(draft.fields.get("source"), f"{kind}/{name}")
    if held is not None:
        # Pinned once and for all: the source may be deleted, or trained anew, without a change of what is quantized.
        return Resolution(held, Reason.SOURCE_READY, f"{kind} {name}, pinned at {held.digest}")
    awaited = (draft.fields.get("source") or {}).get("uid")
    if awaited and (job is None or job["metadata"]["uid"] != awaited):
        message = f"{kind} {name} was deleted before it succeeded"
        return Resolution(None, Reason.SOURCE_FAILED, message, final=True)
    return artifact_of(kind, name, job)


def _waiting(spec: QuantizationJobSpec, draft: StatusDraft, job: Mapping[str, Any] | None, found: Resolution) -> Plan:
    draft.condition("SourceReady", "False", found.reason, found.message)
    if found.final:
        notice = Notice("Warning", found.reason, found.message)
        return Plan(status=draft.fail(found.reason, found.message).done(), notices=(notice,))
    if job is not None and spec.model.from_ is not None:
        # From now on it is this very job that is waited for: one that is deleted will never succeed.
        status.await_job("/".join(spec.model.from_.named), job["metadata"]["uid"], draft)
    return Plan(status=draft.progressing(found.reason, found.message).done())
