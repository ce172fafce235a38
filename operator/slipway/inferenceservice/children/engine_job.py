"""The Job that builds a revision's TensorRT engine, and what the status says of it. Pure; called by plan.py.

It runs where the revision's pods run, with their resources, so that it gets a GPU of their type. Its pods don't carry
the label by which the Service, the budget and the operator find the pods that serve.
"""

from typing import Any

from slipway.api.common.types import Reason
from slipway.api.serving.engine import EngineCache
from slipway.api.serving.status import BuiltEngine
from slipway.inferenceservice.children import manifests
from slipway.inferenceservice.engine_build import CONTAINER, Build, BuildPhase, job_name
from slipway.inferenceservice.service import REVISION
from slipway.inferenceservice.state import ServiceState
from slipway.reconcile import labels
from slipway.reconcile.plan import Notice
from slipway.runtime.conditions import get

# A build fails for good or by a node's fault; the second is worth another try.
TRIES_MORE = 2


def engine_job(state: ServiceState, cache: EngineCache) -> dict[str, Any]:
    """Job that builds the newest revision's engine, with the image and the resources of its server."""
    service, predictor = state.service, state.service.spec.predictor
    marks = {**service.labels, REVISION: state.newest}
    pod_marks = {key: value for key, value in marks.items() if key != labels.JOB_UID}
    container = {**manifests.container(service, state.platform), "name": CONTAINER}
    container["command"] = [*container["command"], "--build-only"]
    metadata = manifests.metadata(service, job_name(service.child(state.newest)))
    metadata["labels"] = marks
    template: dict[str, Any] = {
        "metadata": {"labels": {**predictor.pod.labels, **pod_marks}},
        "spec": manifests.pod(service, state.newest, state.model, container, builds=True, restartPolicy="Never"),
    }
    if predictor.pod.annotations:
        template["metadata"]["annotations"] = dict(predictor.pod.annotations)
    spec = {"backoffLimit": TRIES_MORE, "activeDeadlineSeconds": cache.build_seconds, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def tell(state: ServiceState) -> tuple[Notice, ...]:
    """Condition and status.engine of the newest revision; an event when the condition is news."""
    draft, build = state.draft, state.build
    if build is None:
        draft.without("EngineReady").unset("engine")
        return ()
    reason, message = _words(state, build)
    draft.condition("EngineReady", "True" if build.phase is BuildPhase.BUILT else "False", reason, message)
    if build.phase is BuildPhase.BUILT:
        draft.fields["engine"] = dict(build.facts) or _known(state, build)
    else:
        draft.unset("engine")
    before = get(draft.old.get("conditions") or [], "EngineReady") or {}
    if before.get("reason") == reason:
        return ()
    return (Notice("Warning" if reason == Reason.ENGINE_BUILD_FAILED else "Normal", reason, message),)


def _known(state: ServiceState, build: Build) -> dict[str, Any]:
    """Engine facts as the status had them before the Job's pod went away, else the Job's name alone."""
    before = state.draft.old.get("engine") or {}
    # With the schema's defaults: the server would add them, and each look would find the status to differ.
    return dict(before) if before.get("job") == build.job else BuiltEngine(job=build.job).wire()


def _words(state: ServiceState, build: Build) -> tuple[Reason, str]:
    if build.phase is BuildPhase.BUILT:
        facts = build.facts or _known(state, build)
        parts = (("for", facts.get("architecture")), ("with", facts.get("library")))
        what = "".join(f" {word} {value}" for word, value in parts if value)
        return Reason.ENGINE_BUILT, f"Job {build.job}: the TensorRT engine{what} is in the cache"
    meanwhile = "its pods wait for it" if state.held_back else "a fallback engine serves"
    trouble = build.trouble
    if build.phase is BuildPhase.FAILED or (trouble is not None and trouble.reason == Reason.ENGINE_BUILD_FAILED):
        words = trouble.message if trouble is not None else "the TensorRT engine could not be built"
        return Reason.ENGINE_BUILD_FAILED, f"Job {build.job}: {words}; revision {state.newest}: {meanwhile}"
    why = f": pod {trouble.pod}: {trouble.message}" if trouble is not None else ""
    message = f"Job {build.job} builds the TensorRT engine{why}; revision {state.newest}: {meanwhile}"
    return Reason.ENGINE_BUILDING, message
