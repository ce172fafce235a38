"""Ownership of Deployments and pods by a service, decided here alone for all who count pods or ask them. Pure.

A label is nothing, and neither is an ownerReference without the owner: a pod counts if a ReplicaSet owns it, a
Deployment that ReplicaSet, and the service the Deployment, each by its UID and in this namespace, and if it carries
the revision of its Deployment. Who may create pods in the service's own namespace can name the ReplicaSet as owner:
Kubernetes itself then counts the pod as a replica and the Service leads requests to it; see docs/security.md.
"""

from collections.abc import Iterable

from slipway.inferenceservice.activator.activator import ACTIVATOR, activator_name
from slipway.inferenceservice.observed import revision_of
from slipway.inferenceservice.service import DEPLOYMENTS, INFERENCE_SERVICES, JOBS, REPLICA_SETS, REVISION
from slipway.reconcile import labels
from slipway.runtime.caching.cache import Cache
from slipway.runtime.caching.namespace_shares import crowded
from slipway.runtime.caching.store import Key
from slipway.runtime.client.resource import PODS, Object, identity_of, name_of, uid_of


def revisions(cache: Cache, service: Object) -> list[Object]:
    """The Deployments of its revisions: those that are called so."""
    own = cache[DEPLOYMENTS].children(identity_of(service, INFERENCE_SERVICES))
    return [made for made in own if name_of(made) == f"{name_of(service)}-{revision_of(made) or '?'}"]


def activator(cache: Cache, service: Object) -> Object | None:
    """The Deployment that stands in for its pods while it has none."""
    own = cache[DEPLOYMENTS].children(identity_of(service, INFERENCE_SERVICES))
    return next((made for made in own if name_of(made) == activator_name(name_of(service))), None)


def serving(cache: Cache, service: Object) -> list[Object]:
    """The pods of its revisions, by name."""
    found: list[Object] = []
    for made in revisions(cache, service):
        marks = (labels.JOB_UID, uid_of(service)), (REVISION, revision_of(made))
        found += _marked(_pods(cache, made), marks)
    return sorted(found, key=name_of)


def activating(cache: Cache, service: Object) -> list[Object]:
    """The pods of its activator, by name."""
    made = activator(cache, service)
    return [] if made is None else _marked(_pods(cache, made), [(ACTIVATOR, uid_of(service))])


def building(cache: Cache, builds: Iterable[Object]) -> list[Object]:
    """The pods of these Jobs."""
    return [pod for job in builds for pod in cache[PODS].children(identity_of(job, JOBS))]


def of_key(cache: Cache, key: Key) -> list[Object]:
    """All pods of the service of this name; none of one that is gone, or of which only a stub is kept."""
    service = cache[INFERENCE_SERVICES].get(*key)
    if service is None or crowded(service):
        return []
    jobs = cache[JOBS].children(identity_of(service, INFERENCE_SERVICES))
    return [*serving(cache, service), *building(cache, jobs), *activating(cache, service)]


def _pods(cache: Cache, deployment: Object) -> list[Object]:
    sets = cache[REPLICA_SETS].children(identity_of(deployment, DEPLOYMENTS))
    return [pod for each in sets for pod in cache[PODS].children(identity_of(each, REPLICA_SETS))]


def _marked(pods: Iterable[Object], marks: Iterable[tuple[str, str]]) -> list[Object]:
    wanted = set(marks)
    return [pod for pod in pods if wanted <= (pod["metadata"].get("labels") or {}).items()]
