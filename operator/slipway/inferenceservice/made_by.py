"""Jobs that a service takes its model and its adapters from, as the cache holds them. Pure."""

from collections.abc import Mapping

from slipway.inferenceservice.language import KIND as ADAPTERS_FROM
from slipway.inferenceservice.language import adapter_jobs
from slipway.inferenceservice.source import job_named
from slipway.runtime.caching.cache import Cache
from slipway.runtime.client.resource import Object, Resource, namespace_of


def source(cache: Cache, sources: Mapping[str, Resource], service: Object) -> Object | None:
    """The job that makes its model; None where it names none, or one that is not there. `sources`: by kind."""
    jobs = ((resource, job_named(service, kind)) for kind, resource in sources.items())
    found = (cache[resource].get(namespace_of(service), name) for resource, name in jobs if name is not None)
    return next(found, None)


def adapters(cache: Cache, sources: Mapping[str, Resource], service: Object) -> dict[str, Object | None]:
    """The jobs that make its adapters, by name."""
    namespace, jobs = namespace_of(service), cache[sources[ADAPTERS_FROM]]
    return {name: jobs.get(namespace, name) for name in adapter_jobs(service)}


def named(service: Object, kind: str, name: str) -> bool:
    """Say whether the service takes anything from this job of its namespace."""
    return job_named(service, kind) == name or (kind == ADAPTERS_FROM and name in adapter_jobs(service))
