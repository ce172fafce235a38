"""The process: lease, watches, workers, servers. The only file that imports kopf, and kopf only informs.

Handlers only put what a watch told into the cache; a change marks a key; workers reconcile keys. Crash-only: a watch, a
server or a worker that breaks ends the process, and a restart costs a few LISTs and no write.
"""

import asyncio
import itertools
import logging
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import kopf
from kopf._cogs.clients import api, fetching

from slipway import log as logs
from slipway.assembly import OURS, Assembly, Platforms, endpoint_certificate
from slipway.config import Config, ConfigError, read_config
from slipway.gang.status_endpoint import STATUS_AUDIENCE, StatusEndpoint
from slipway.inferenceservice import service as serving
from slipway.quantizationjob import job as quantizing
from slipway.runtime.certificate import Certificate, until_renewed
from slipway.runtime.client.document import accept_depth
from slipway.runtime.client.kube import Kube, KubeConfig
from slipway.runtime.client.resource import Resource
from slipway.runtime.events import EventRecorder, Reporter
from slipway.runtime.lease import Lease, make_identity
from slipway.runtime.metrics import Metrics, count_conditions
from slipway.runtime.servers.metrics_server import AccessReviewer, metrics_app
from slipway.runtime.servers.progress_server import ProgressServer, ProgressSink
from slipway.runtime.servers.server import PROBES, Health, MetricsText, health_app, listening
from slipway.runtime.servers.token_review import TokenReviewer
from slipway.trainingjob import job as training

log = logging.getLogger("slipway")


class Operator:
    """All parts of one operator process, bound together."""

    def __init__(self, config: Config, kube_config: KubeConfig) -> None:
        self.config = config
        self.metrics = Metrics()
        # Renewals must never wait behind other requests, nor be refused by the gate that they keep open.
        self.lease_kube = Kube(kube_config, concurrency=2, timeout=5)
        self.lease = (
            Lease(self.lease_kube, config.lease_namespace, config.lease_name, make_identity(config.identity))
            if config.lease_namespace
            else None
        )
        gate = self.lease.seconds_left if self.lease else None
        self.kube = Kube(kube_config, gate=gate, observe_request=self.metrics.observe_request)
        reporter = Reporter("slipway.dev/operator", config.identity)
        self.recorder = EventRecorder(self.kube, reporter, dropped=self.metrics.count_dropped_event)
        self.certificate = endpoint_certificate(config) if config.status_url else None
        self.assembly = Assembly(
            self.kube,
            self._platforms(),
            namespaces=config.namespaces,
            workers=config.workers,
            record=lambda job, notice: self.recorder.event(job, notice.type, notice.reason, notice.message),
            observe=self.metrics.observe_reconcile,
            wait_observer=self.metrics.wait_observer,
        )
        self.health = Health(
            lambda: self.assembly.cache.heard_at,
            silence_limit=max(900.0, 3 * config.resync_seconds),
            observe_lag=self.metrics.observe_loop_lag,
        )
        self.metrics.watch_leading(self._leading)
        for kind, resource in OURS.items():
            self.metrics.watch_queue(kind, self.assembly.queues[kind])
            self.metrics.watch_jobs(kind, partial(count_conditions, self.assembly.cache[resource]))

    def _platforms(self) -> Platforms:
        authority = self.certificate.authority if self.certificate else ""
        endpoint = StatusEndpoint(self.config.status_url, authority)
        return Platforms(
            training.Platform(self.config.trainer_image, endpoint, gpu_image=self.config.trainer_gpu_image),
            quantizing.Platform(self.config.quantizer_image, endpoint),
            serving.Platform(self.config.server_image, gpu_image=self.config.server_gpu_image),
            self.config.gang_admission,
            self.config.namespace_mib * 2**20,
        )

    def _leading(self) -> bool:
        return self.lease.leading() if self.lease else True

    def _knows_the_jobs(self) -> bool:
        # Before the cache is full, a job that exists would be answered with 404.
        return self._leading() and self.health.state == "leading"

    async def run(self) -> None:
        """Work until SIGTERM; an exception means that the process has to end."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.lease_kube.close)
            stack.push_async_callback(self.kube.close)
            stack.push_async_callback(self.assembly.close)
            page, guarded = MetricsText(self.metrics.render), self.config.metrics_authorization
            app = health_app(self.health, None if guarded else page.get)
            ended = self.metrics.cut_off_counter("health")
            probes = listening(app, self.config.health_port, limits=PROBES, ended=ended)
            await stack.enter_async_context(probes)
            await stack.enter_async_context(_beside(self.health.tick()))
            await self._require_kinds()
            if self.certificate:
                # A standby is ready, so the Service leads posts to it, too: it answers 503 with when to try again.
                posts = listening(
                    self._endpoint().app(),
                    self.config.status_port,
                    tls=self.certificate.context(),
                    ended=self.metrics.cut_off_counter("status"),
                )
                await stack.enter_async_context(posts)
                if guarded:
                    await stack.enter_async_context(self._guarded(page, self.certificate))
            if self.lease:
                self.health.state = "standby"
                await self.lease.acquire()
                await stack.enter_async_context(_beside(self._end_without(self.lease)))
            await self._work()
            if self.lease:
                await self.lease.release()

    def _guarded(self, page: MetricsText, certificate: Certificate) -> AbstractAsyncContextManager[int]:
        return listening(
            metrics_app(page.get, AccessReviewer(self.kube)),
            self.config.metrics_port,
            tls=certificate.context(),
            limits=PROBES,
            ended=self.metrics.cut_off_counter("metrics"),
        )

    async def _require_kinds(self) -> None:
        missing = [resource.plural for resource in OURS.values() if not await self.kube.serves(resource)]
        if missing:
            raise ConfigError(f"the server does not know slipway.dev/v1alpha1 {', '.join(missing)}: apply crds/ first")

    async def _end_without(self, lease: Lease) -> None:
        await lease.hold()
        # What others wrote meanwhile is not known here: nothing may be finished, flushed or handed over.
        os._exit(1)

    def _endpoint(self) -> ProgressServer:
        sources = self.assembly.reports.values()
        return ProgressServer(
            [ProgressSink(one.resource, one.find_owner, one.accept) for one in sources],
            TokenReviewer(self.kube, STATUS_AUDIENCE),
            leading=self._knows_the_jobs,
            observe=self.metrics.count_progress,
        )

    async def _work(self) -> None:
        cache, controllers = self.assembly.cache, self.assembly.controllers
        await self.assembly.discover()
        await cache.resync(self.kube)
        self.assembly.reorder()
        self.health.state = "leading"
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(cache.keep_synced(self.kube, self.config.resync_seconds), name="resync"),
                group.create_task(self.recorder.run(), name="events"),
            ]
            if self.certificate:
                renewed = until_renewed(self.config.status_cert_dir, self.certificate)
                background.append(group.create_task(renewed, name="certificate"))
            for controller in controllers:
                group.create_task(controller.run(), name=controller.name)
            await self._watch()
            self.health.state = "stopping"
            await asyncio.gather(*(controller.stop() for controller in controllers))
            for task in background:
                task.cancel()

    async def _watch(self) -> None:
        """Run kopf's watches until SIGTERM, for which kopf listens."""
        registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
        _configure(settings)
        kopf.on.login(registry=registry)(_login)
        # All that is there would be in memory at once, whole; the cache lists it itself, in pages.
        fetching.fetch_objs = self._position
        for resource in (*OURS.values(), *self.assembly.children):
            self._listen(registry, settings, resource)
        namespaces = self.config.namespaces
        if len(namespaces) > 1:
            settings.networking.error_backoffs = _WatchBackoff()
        await kopf.operator(
            registry=registry, settings=settings, standalone=True, namespaces=namespaces, clusterwide=not namespaces
        )

    async def _position(
        self, *, settings: Any, resource: Any, namespace: Any, logger: Any
    ) -> AsyncIterator[tuple[list[Any], str]]:
        """Start position of a watch, in place of kopf's listing; what happened before, a resync brings in."""
        url = resource.get_url(namespace=namespace, params={"limit": "1"})
        answer = await api.get(url=url, logger=logger, settings=settings)
        self.assembly.cache.ask_for_resync()
        yield [], answer["metadata"]["resourceVersion"]

    def _listen(self, registry: kopf.OperatorRegistry, settings: kopf.OperatorSettings, resource: Resource) -> None:
        async def heard(event: Any, **_: Any) -> None:
            self.assembly.cache.observe(resource, event["type"], dict(event["object"]))

        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)(heard)
        if self.assembly.children.get(resource):
            settings.watching.label_selectors[resource.plural] = self.assembly.children[resource]


async def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


class _NoDiff(kopf.DiffBaseStorage):
    """Diff storage without content.

    kopf copies and compares every object for handlers that we don't have: a seventh of the operator's CPU.
    """

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class _NoProgress(kopf.ProgressStorage):
    """Progress storage without content: handlers of ours have no progress."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class _WatchBackoff:
    """Pauses between tries of a watch, without end: kopf would end the process after a minute of refusals.

    Where several namespaces are watched, whoever may take the operator's rights away in one must not stop it in the
    others. The cache keeps trying, too, and says what is refused.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1.0, 2.0, 5.0, 10.0), itertools.repeat(30.0))


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.persistence.diffbase_storage = _NoDiff()
    settings.persistence.progress_storage = _NoProgress()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.finalizer = "slipway.dev/unused"
    # An object may have 1.5 MB: one that nothing happens to is soon let go.
    settings.queueing.idle_timeout = 0.2
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    # Bookmarks come every minute; a connection that says nothing for longer is dead.
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 30
    settings.queueing.exit_timeout = 2
    settings.process.ultimate_exiting_timeout = 20


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()


def run() -> None:
    """Entry point; exits with 2 when a setting makes no sense, with 1 when something broke."""
    try:
        config = read_config()
        logs.set_up(config.log_level)
        accept_depth()
        asyncio.run(Operator(config, KubeConfig.load()).run())
    except ConfigError as error:
        print(f"slipway: {error}", file=sys.stderr)  # noqa: T201 (the log may not be set up)
        sys.exit(2)
