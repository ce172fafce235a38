"""Life of a generation server: listen, load, prove, serve, drain. Called by the command, and by tests in a process."""

import asyncio
import contextlib
import logging
from typing import Any

from workloads.serve.edge.listening import address, listening
from workloads.serve.generation.app import Generating, GenerationApp
from workloads.serve.generation.loading import load
from workloads.serve.generation.metrics import GenerationMetrics
from workloads.serve.http import HttpServer
from workloads.serve.lifecycle import Lifecycle, Phase
from workloads.serve.run import name_of
from workloads.serve.settings import Settings
from workloads.serve.telemetry.metrics import Metrics

LOG = logging.getLogger("slipway.serve")


async def serve(settings: Settings) -> None:
    """Serve until told to leave; returns when that is done in good order. Raises what loading raised."""
    life, metrics = Lifecycle(), Metrics()
    life.install()
    name = settings.name or name_of(settings.model)
    app = GenerationApp(name, settings.version, life, metrics, settings.http.max_body_size)
    async with listening(app, settings) as front:
        try:
            await _live(app, front.http, settings)
        finally:
            await front.http.finish(0)


async def _live(app: GenerationApp, http: HttpServer, settings: Settings) -> None:
    """Load, serve, leave."""
    told = asyncio.create_task(app.life.until_told())
    generation = GenerationMetrics(
        app.name, lambda: ",".join(one.name for one in settings.adapters), len(settings.adapters)
    )
    loading = asyncio.create_task(load(settings, generation))
    either: set[asyncio.Future[Any]] = {told, loading}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        LOG.info("told to leave while the model was loading")
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await loading
        return
    serving = loading.result()
    show(app, serving, generation)
    app.begin_serving(serving)
    LOG.info("ready: %s/v1 serves %s", address(settings, http.port), app.name)
    try:
        await told
        await drain(app, http, serving, settings)
    finally:
        serving.texts.close()
        await serving.generator.engine.close()


def show(app: GenerationApp, serving: Generating, generation: GenerationMetrics) -> None:
    """Show the generator's figures under vLLM's names and this server's own."""
    generator = serving.generator
    engine = generator.engine
    generation.gauges |= {
        "vllm:num_requests_running": ("Answers that are made.", lambda: generator.queue.running),
        "vllm:num_requests_waiting": ("Answers that wait.", lambda: generator.queue.waiting),
        "vllm:kv_cache_usage_perc": ("Share of the cache that is used, of 1.", lambda: engine.status.cache_usage),
        "slipway_tokens_waiting": ("Tokens of prompts that wait.", lambda: generator.queue.waiting_tokens),
        "slipway_tokens_in_flight": ("Tokens of answers under way.", lambda: generator.queue.running_tokens),
        "slipway_engine_restarts": ("Times that the engine's process was replaced.", lambda: engine.restarts),
    }
    app.metrics.gauges["slipway_rows_in_server"] = (
        "Answers that wait or are made.",
        lambda: generator.queue.running + generator.queue.waiting,
    )
    app.metrics.gauges["slipway_queue_rows"] = ("Answers that wait.", lambda: generator.queue.waiting)
    app.metrics.add(generation)


async def drain(app: GenerationApp, http: HttpServer, serving: Generating, settings: Settings) -> None:
    """Drain: not ready first, while everything is still served; then streams end, and what does not is cut off."""
    life = app.life
    life.phase = Phase.DRAINING
    http.closing = True
    LOG.info("draining: not ready, serving for %g s more", settings.readiness_lead)
    await life.hurried(settings.readiness_lead)
    life.phase = Phase.STOPPING
    cut = await http.finish(settings.drain_timeout)
    serving.generator.close()
    if cut:
        LOG.warning("%d requests were cut off after %g s", cut, settings.drain_timeout)
        return
    LOG.info("left in good order")
