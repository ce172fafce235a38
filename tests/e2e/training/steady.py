"""A job that runs until it is told that it is enough: whatever happens to the operator, its pods have to stay."""

from __future__ import annotations

from tests.e2e.conftest import Job, Namespace, is_true

# Ends when the test says so, and never by itself.
PROGRAM = "import os, time\nwhile not os.path.exists('/tmp/enough'): time.sleep(0.2)"


def waiting_job(name: str, image: str) -> Job:
    """Two pods that run until they are told that it is enough."""
    return {
        "apiVersion": "slipway.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {
            "launcher": "plain",
            "numNodes": 2,
            "trainer": {
                "image": image,
                "command": ["python", "-c", PROGRAM],
                "resourcesPerNode": {"limits": {"cpu": "100m", "memory": "128Mi"}},
            },
            "pod": {"terminationGracePeriodSeconds": 1},
        },
    }


def lives(namespace: Namespace, job: str) -> dict[str, tuple[str, int]]:
    """(uid, restarts of its container) of each running pod of the job."""
    running = [pod for pod in namespace.pods(job) if pod["status"]["phase"] == "Running"]
    return {
        pod["metadata"]["name"]: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
        for pod in running
    }


def started(namespace: Namespace, image: str) -> dict[str, tuple[str, int]]:
    """Start the job that waits; its pods, once they run."""
    namespace.apply(waiting_job("steady", image))
    namespace.until("trainingjob", "steady", lambda job: is_true(job, "Running"), "running", 90)
    pods = lives(namespace, "steady")
    assert set(pods) == {"steady-node-0-a0", "steady-node-1-a0"}
    return pods


def ends_well(namespace: Namespace, pods: dict[str, tuple[str, int]]) -> None:
    """The same pods run on, and their end is seen by whichever operator there is by now."""
    assert lives(namespace, "steady") == pods
    for pod in pods:
        namespace.kubectl("exec", pod, "--", "touch", "/tmp/enough")
    status = namespace.until_condition("trainingjob", "steady", "Succeeded", 90)["status"]
    assert status.get("restartCount", 0) == 0
    assert {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in namespace.pods("steady")} == {
        name: uid for name, (uid, _) in pods.items()
    }
