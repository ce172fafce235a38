"""Containers of a user's own beside real trainers, on real kubelets: they start in order, and end with the job's."""

from __future__ import annotations

import pytest

from tests.e2e.training.test_trainingjob import trainer_image

SCRIPT = (
    "test $HP_RATE = 0.1 && test $(cat /given/word) = ready && test -n $NODE"
    # The sidecar was there before the program's end, and would go on for an hour.
    " && until test -e /given/watched; do sleep 0.2; done"
)
WATCH = "trap 'exit 0' TERM; touch /given/watched; sleep 3600 & wait"


def _job(image: str, first: str, name: str) -> dict:
    mount = [{"name": "given", "mountPath": "/given"}]
    shell = {"image": image, "volumeMounts": mount, "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}}
    node = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    spec = {
        "launcher": "plain",
        "numNodes": 2,
        "trainer": {
            "image": image,
            "command": ["sh", "-c", SCRIPT],
            "env": [node],
            "envFrom": [{"configMapRef": {"name": "settings"}, "prefix": "HP_"}],
            "resourcesPerNode": {"limits": {"cpu": "200m", "memory": "128Mi"}},
        },
        "pod": {
            "terminationGracePeriodSeconds": 5,
            "volumes": [{"name": "given", "emptyDir": {}}],
            "volumeMounts": mount,
            "initContainers": [{**shell, "name": "fetch", "command": ["sh", "-c", first]}],
            "sidecars": [{**shell, "name": "watch", "command": ["sh", "-c", WATCH]}],
        },
        "failurePolicy": {"maxRestarts": 0},
    }
    return {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}


@pytest.mark.slow
def test_a_job_with_containers_of_the_users_own_is_judged_by_its_trainer_alone(namespace, installed):
    image = trainer_image(namespace)
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"RATE": "0.1"}}
    namespace.apply(settings)
    namespace.apply(_job(image, "echo ready > /given/word", "sound"))
    namespace.apply(_job(image, "echo no such model >&2; exit 7", "unsound"))
    found = namespace.until_condition("trainingjob", "sound", "Succeeded", 240)
    assert found["status"]["restartCount"] == 0
    failed = namespace.until_condition("trainingjob", "unsound", "Failed", 120)
    failure = failed["status"]["lastFailure"]
    assert (failure["container"], failure["exitCode"]) == ("fetch", 7)
    assert "no such model" in failure["message"]
    # A sidecar that runs on holds nothing any more.
    namespace.kubectl("wait", "--for=delete", "pod", "-l", "slipway.dev/job-name=sound", "--timeout=90s")
