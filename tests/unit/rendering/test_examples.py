"""Objects rendered of the examples: the same bytes as before, and pods of every kind as restricted as one another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.rendering.examples import DIGESTS, digests, rendered
from tests.unit.rendering.hardening import weaknesses
from tests.unit.trainingjob.rendered import env_of, job_of, pod_of

Object = dict[str, Any]
MADE = rendered()


def test_examples_are_rendered_to_the_bytes_that_were_recorded() -> None:
    """`make rendered` records them anew, after a change that is meant."""
    known, now = json.loads(DIGESTS.read_text()), digests()
    changed = {example: made for example, made in now.items() if known.get(example) != made}
    assert (changed, sorted(known)) == ({}, sorted(now)), "meant? then `make rendered`, and name it in the commit"


def _pods() -> list[tuple[str, Object]]:
    """Pods and pod templates of all examples, with their names."""
    kinds = {"Pod": lambda one: one, "Deployment": _template, "Job": _template}
    named = [(f"{example}: {one['kind']} {one['metadata']['name']}", one) for example in MADE for one in MADE[example]]
    return [(name, kinds[one["kind"]](one)) for name, one in named if one["kind"] in kinds]


def _template(owner: Object) -> Object:
    return owner["spec"]["template"]  # type: ignore[no-any-return]


PODS = _pods()


@pytest.mark.parametrize("pod", [pod for _, pod in PODS], ids=[name for name, _ in PODS])
def test_every_pod_of_any_kind_is_hardened(pod: Object) -> None:
    assert weaknesses(pod) == []


def test_each_kind_of_pod_is_among_them() -> None:
    containers = {container["name"] for _, pod in PODS for container in pod["spec"]["containers"]}
    assert {"trainer", "quantizer", "server", "activator"} <= containers


def test_a_users_own_init_containers_and_sidecars_are_as_restricted_and_a_mounted_tmp_is_left() -> None:
    mount = {"name": "scratch", "mountPath": "/tmp"}
    job = job_of(
        pod={
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "volumeMounts": [mount],
            "initContainers": [{"name": "fetch", "image": "example.com/fetch:1"}],
            "sidecars": [{"name": "ship", "image": "example.com/ship:1"}],
        }
    )
    spec = pod_of(job)["spec"]
    own, beside, first = *spec["containers"], *spec["initContainers"]
    assert all(one["securityContext"]["readOnlyRootFilesystem"] for one in (own, beside, first))
    at_tmp = [[m["name"] for m in one["volumeMounts"] if m["mountPath"] == "/tmp"] for one in (own, beside, first)]
    assert at_tmp == [["scratch"], ["slipway-tmp-1"], ["slipway-tmp-2"]]
    assert env_of(job)["XDG_CACHE_HOME"] == "/tmp/.cache", "an image of the user's own has its home elsewhere"


def test_an_image_that_writes_its_own_files_may_where_the_job_says_so() -> None:
    job = job_of(pod={"readOnlyRootFilesystem": False})
    (container,) = pod_of(job)["spec"]["containers"]
    assert "readOnlyRootFilesystem" not in container["securityContext"]
    assert "slipway-tmp" not in str(pod_of(job))
    assert "XDG_CACHE_HOME" not in env_of(job)
