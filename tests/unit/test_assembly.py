"""Who hears of what: the end of one link of the chain wakes the next."""

from typing import Any

from slipway.assembly import Assembly, Platforms
from slipway.inferenceservice import service as serving
from slipway.quantizationjob import job as quantizing
from slipway.reconcile.execute import Executor
from slipway.runtime.client.resource import PODS, Identity, Object
from slipway.trainingjob import job as training


class Server:
    """Takes status patches and answers with the object as it then is."""

    def __init__(self, obj: Object) -> None:
        self.obj = obj

    async def patch_status(self, resource: Any, namespace: str, name: str, status: Any, **_: Any) -> Object:
        metadata = {**self.obj["metadata"], "resourceVersion": "9"}
        return {**self.obj, "metadata": metadata, "status": dict(status)}


def assembly(kube: Any) -> Assembly:
    platforms = Platforms(training.Platform("t"), quantizing.Platform("q"), serving.Platform("s"))
    return Assembly(
        kube,
        platforms,
        namespaces=(),
        workers=1,
        record=lambda obj, notice: None,
        observe=lambda name, result, seconds: None,
        wait_observer=lambda kind: lambda seconds: None,
    )


def obj(kind: str, name: str, spec: dict[str, Any]) -> Object:
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1"}
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def drain(queue: Any) -> set[tuple[str, str]]:
    keys = set()
    while (key := queue.take()) is not None:
        keys.add(tuple(key))
        queue.done(key)
    return keys


async def test_a_finished_trainingjob_wakes_who_waits_for_it_though_nothing_else_changes():
    """The status is our own write, whose echo on the watch is no news: the next link once waited for ever."""
    job = obj("TrainingJob", "digits", {})
    parts = assembly(Server(job))
    parts.cache.observe(training.TRAINING_JOBS, "ADDED", job)
    waiting = {"model": {"from": {"trainingJob": "digits"}}}
    parts.cache.observe(quantizing.QUANTIZATION_JOBS, "ADDED", obj("QuantizationJob", "int8", waiting))
    parts.cache.observe(serving.INFERENCE_SERVICES, "ADDED", obj("InferenceService", "digits", {"predictor": waiting}))
    for queue in parts.queues.values():
        drain(queue)
    executor = Executor(Server(job), parts.cache, training.TRAINING_JOBS, frozenset(), lambda o, n: None)  # type: ignore[arg-type]
    await executor.report(job, {"conditions": [{"type": "Succeeded", "status": "True"}]})
    assert drain(parts.queues["QuantizationJob"]) == {("team", "int8")}
    assert drain(parts.queues["InferenceService"]) == {("team", "digits")}


def test_at_the_start_what_nobody_has_seen_is_looked_at_first():
    """Starvation at restarts: looked at in the order of their names, the last of 64 jobs were never seen."""
    parts = assembly(None)
    for number in range(40):
        job = obj("TrainingJob", f"j{number:02}", {})
        job["metadata"]["generation"] = 2 if number in (37, 39) else 1
        job["status"] = {"observedGeneration": -1 if number == 38 else 1}
        parts.cache.observe(training.TRAINING_JOBS, "ADDED", job)
    parts.reorder()
    queue = parts.queues["TrainingJob"]
    assert {queue.take() for _ in range(3)} == {("team", "j37"), ("team", "j38"), ("team", "j39")}
    assert len(drain(queue)) == 37


def test_at_the_start_a_part_of_a_gang_is_looked_at_first():
    """A storm's operators lived for a second each: two pods of three held their nodes for three minutes."""
    parts = assembly(None)
    for number in range(40):
        job = obj("TrainingJob", f"j{number:02}", {})
        job["metadata"]["generation"] = 1
        ended = {37: {}, 38: {"attemptTime": "2026-11-01T12:00:00Z"}, 39: {"completionTime": "2026-11-01T12:00:00Z"}}
        job["status"] = {"observedGeneration": 1, **ended.get(number, {})}
        parts.cache.observe(training.TRAINING_JOBS, "ADDED", job)
        if number >= 37:
            owner = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "name": f"j{number}"}
            pod = obj("Pod", f"j{number}-node-0-a0", {})
            pod["metadata"]["ownerReferences"] = [{**owner, "uid": job["metadata"]["uid"], "controller": True}]
            parts.cache.observe(PODS, "ADDED", pod)
    parts.reorder()
    assert parts.queues["TrainingJob"].take() == ("team", "j37")


def test_a_childs_change_marks_its_owner_by_label():
    parts = assembly(None)
    labels = {"slipway.dev/kind": "QuantizationJob", "slipway.dev/job-name": "int8"}
    pod = obj("Pod", "int8-0-0-a0", {})
    pod["metadata"]["labels"] = labels
    parts.cache.observe(PODS, "ADDED", pod)
    assert drain(parts.queues["QuantizationJob"]) == {("team", "int8")}
    assert not drain(parts.queues["TrainingJob"])


def test_what_a_pod_told_last_is_kept_for_its_job():
    """Also where the event of its deletion is the first to tell how it ended."""
    parts = assembly(None)
    pod = obj("Pod", "digits-node-0-a0", {})
    pod["metadata"]["ownerReferences"] = [
        {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "TrainingJob",
            "name": "digits",
            "uid": "u",
            "controller": True,
        }
    ]
    parent = Identity("team", "slipway.dev", "TrainingJob", "u")
    parts.cache.observe(PODS, "ADDED", pod | {"status": {"phase": "Running"}})
    last = pod | {"metadata": pod["metadata"] | {"resourceVersion": "2"}, "status": {"phase": "Failed"}}
    parts.cache.observe(PODS, "DELETED", last)
    assert [each["status"]["phase"] for each in parts._trainings.deleted_pods.of(parent)] == ["Failed"]
