"""The process: settings, watches, workers, servers. The only file that imports kopf, and kopf only informs.

Handlers do nothing but put what a watch told into the cache; a change marks a key; workers reconcile keys. Crash-only: a
watch, a server or a worker that breaks ends the process, and a restart costs two LISTs and no write.
"""

import asyncio
import contextlib
import logging
import sys
from typing import Any

import kopf

from slipway.config import Config, ConfigError, read_config
from slipway.job.labels import JOB_NAME, MANAGED_SELECTOR
from slipway.runtime.cache import Cache, Change
from slipway.runtime.controller import Controller
from slipway.runtime.kube import Kube, KubeConfig
from slipway.runtime.queue import WorkQueue
from slipway.runtime.resource import PODS, Object, Resource
from slipway.trainingjob.job import TRAINING_JOBS, Platform
from slipway.trainingjob.reconcile import JobKey, TrainingJobs

log = logging.getLogger("slipway")


class Operator:
    """All parts of one operator process, bound together."""

    def __init__(self, config: Config, kube_config: KubeConfig) -> None:
        self.config = config
        self.kube = Kube(kube_config)
        self.queue: WorkQueue[JobKey] = WorkQueue()
        self.cache = Cache(self._on_change, namespaces=(config.namespace,) if config.namespace else ())
        self.cache.add(TRAINING_JOBS)
        self.cache.add(PODS, selector=MANAGED_SELECTOR)
        platform = Platform(trainer_image=config.trainer_image)
        jobs = TrainingJobs(self.kube, self.cache, platform, lambda job, notice: None, lambda key, uid: None)
        self.controller = Controller(
            "trainingjob", self.queue, jobs.reconcile, workers=config.workers, on_error=jobs.on_error
        )

    def _on_change(self, resource: Resource, change: Change) -> None:
        """Which job does this change concern? Pods name theirs in a label."""
        if resource is TRAINING_JOBS:
            self.queue.mark(JobKey(*change.key))
            return
        obj = change.new or change.old or {}
        name = (obj.get("metadata", {}).get("labels") or {}).get(JOB_NAME)
        if name:
            self.queue.mark(JobKey(change.key.namespace, name))

    async def run(self) -> None:
        """Work until SIGTERM; an exception means that the process has to end."""
        if not await self.kube.serves(TRAINING_JOBS):
            raise ConfigError("the server does not know slipway.dev/v1alpha1 trainingjobs: apply crds/ first")
        await self.cache.resync(self.kube)
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self.controller.run(), name="controller"),
                group.create_task(self.cache.keep_synced(self.kube, self.config.resync_seconds), name="resync"),
            ]
            await self._watch()
            await self.controller.stop()
            for task in background:
                task.cancel()
        await self.kube.close()

    async def _watch(self) -> None:
        registry, settings = kopf.OperatorRegistry(), kopf.OperatorSettings()
        _configure(settings)
        for resource in (TRAINING_JOBS, PODS):
            self._listen(registry, resource)
        kopf.on.login(registry=registry)(_login)
        namespaces = [self.config.namespace] if self.config.namespace else []
        await kopf.operator(
            registry=registry, settings=settings, standalone=True, namespaces=namespaces, clusterwide=not namespaces
        )

    def _listen(self, registry: kopf.OperatorRegistry, resource: Resource) -> None:
        async def heard(event: Any, **_: Any) -> None:
            self.cache.observe(resource, event["type"], _plain(event["object"]))

        selector = {"labels": {"slipway.dev/managed": "true"}} if resource is PODS else {}
        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, **selector)(heard)


def _plain(obj: Any) -> Object:
    return dict(obj)


async def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


def _configure(settings: kopf.OperatorSettings) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.finalizer = "slipway.dev/unused"
    settings.watching.label_selectors["pods"] = MANAGED_SELECTOR
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.networking.request_timeout = 30
    settings.queueing.exit_timeout = 2
    settings.process.ultimate_exiting_timeout = 20


def run() -> None:
    """Entry point; exits with 2 when a setting makes no sense, with 1 when something broke."""
    try:
        config = read_config()
        logging.basicConfig(level=config.log_level, stream=sys.stderr)
        asyncio.run(Operator(config, KubeConfig.load()).run())
    except ConfigError as error:
        sys.exit(f"slipway: {error}")
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):
            log.info("interrupted")
