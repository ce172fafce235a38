"""A pod that joins a gang which is there already: what it starts with may be of a later release than the gang."""

from __future__ import annotations

from slipway.runtime.client.resource import CONFIGMAPS, PODS
from slipway.trainingjob.gang import TrainingGang
from tests.unit.trainingjob.rendered import PLATFORM, job_of


def test_a_pod_that_joins_finds_the_files_it_starts_with_in_the_config_map() -> None:
    gang = TrainingGang(job_of(numNodes=2, launcher="torchrun"), PLATFORM)
    config, pod = gang.writes([1], 0, first=False)
    assert (config.resource, config.replace, pod.resource) == (CONFIGMAPS, True, PODS)
    command = pod.manifest["spec"]["containers"][0]["command"]
    started = [word.rsplit("/", 1)[-1] for word in command if word.startswith("/etc/slipway/")]
    assert started
    assert set(started) <= set(config.manifest["data"])
