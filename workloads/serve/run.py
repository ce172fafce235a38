"""The server's life from start to end: listen, load, serve, drain. Called by the command, and by tests in a process."""

import asyncio
import contextlib
import logging
import threading
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from workloads.pod.slices import ask_for_short_slices
from workloads.serve.allocator import keep_freed_pieces
from workloads.serve.app import App
from workloads.serve.edge.listening import Listening, address, listening
from workloads.serve.http import HttpServer
from workloads.serve.lifecycle import Lifecycle, Phase
from workloads.serve.loading import load_and_warm_up
from workloads.serve.rest.inference import Codec
from workloads.serve.service import Loaded, Service
from workloads.serve.settings import Settings
from workloads.serve.telemetry.metrics import Metrics
from workloads.serve.transform.workers import Workers

if TYPE_CHECKING:
    from workloads.serve.grpc.server import GrpcServer

CLOSING_SECONDS = 3.0  # for the engines; the operator leaves five after the drain
LOG = logging.getLogger("slipway.serve")


async def serve(settings: Settings) -> None:
    """Serve until told to leave; returns when that is done in good order. Raises what loading raised."""
    life, metrics = Lifecycle(), Metrics()
    life.install()
    keep_freed_pieces()
    ask_for_short_slices()
    app = App(settings.name or name_of(settings.model), settings.version, life, metrics)
    async with listening(app, settings) as front:
        grpc = await _start_grpc(app, front, settings)
        try:
            await _live(app, front.http, grpc, settings)
        finally:
            if grpc is not None:
                await grpc.finish(0)


async def _live(app: App, http: HttpServer, grpc: "GrpcServer | None", settings: Settings) -> None:
    """Load, serve, leave."""
    life, metrics = app.life, app.metrics
    told = asyncio.create_task(life.until_told())
    loading = asyncio.ensure_future(_prepared(settings))
    either: set[asyncio.Future[Any]] = {told, loading}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        LOG.info("told to leave while the model was loading")
        loading.cancel()
        await asyncio.wait({loading})
        return
    loaded, workers = loading.result()
    service = start(app, loaded, settings, metrics, workers)
    if grpc is not None:
        LOG.info("gRPC on port %d", grpc.port)
    LOG.info("ready: %s/v2/models/%s", address(settings, http.port), app.name)
    await told
    try:
        await drain(life, http, grpc, service, settings)
    finally:
        await app.close()


async def _prepared(settings: Settings) -> "tuple[Loaded, Workers | None]":
    """Own code first: what it lacks is known in seconds, and a model may have many gigabytes."""
    workers = None
    if settings.transform is not None:
        limits = settings.batching
        most = settings.http.max_body_size
        workers = Workers(settings.transform, limits.default_timeout, most, limits.max_queue_size)
        await workers.start()
        LOG.info("own code is imported by %d worker(s)", settings.transform.workers)
    try:
        return await _load(settings), workers
    except BaseException:
        if workers is not None:
            await workers.close()
        raise


def _load(settings: Settings) -> "asyncio.Future[Loaded]":
    """Load the model on a thread that the process does not wait for: gigabytes of weights must not delay leaving."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Loaded] = loop.create_future()

    def settle(loaded: Loaded | None, error: Exception | None) -> None:
        if future.done():
            return  # told to leave meanwhile
        if error is not None:
            future.set_exception(error)
        elif loaded is not None:
            future.set_result(loaded)

    def work() -> None:
        loaded: Loaded | None = None
        failure: Exception | None = None
        try:
            loaded = load_and_warm_up(settings)
        except Exception as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are leaving already
            loop.call_soon_threadsafe(settle, loaded, failure)

    threading.Thread(target=work, name="loading", daemon=True).start()
    return future


def start(app: App, loaded: Loaded, settings: Settings, metrics: Metrics, workers: Workers | None = None) -> Service:
    """Serve the model, which is loaded."""
    service = Service(loaded, settings.batching, metrics, workers)
    # How many rows preprocess makes of a request is known afterwards.
    bounded = loaded.model.signature.batched and not (service.transform is not None and service.transform.reads)
    codec = Codec(
        service.signature,
        app.name,
        app.version,
        settings.nonfinite,
        settings.http.max_body_size,
        settings.batching.max_batch_size if bounded else 0,
    )
    metrics.gauges |= {
        "slipway_queue_rows": ("Rows that wait for an engine.", lambda: service.batcher.waiting),
        "slipway_rows_in_server": ("Rows that wait or are computed.", lambda: service.batcher.rows),
        "slipway_engines_busy": ("Engine instances that run a batch.", lambda: service.batcher.busy),
        "slipway_engines": ("Engine instances.", lambda: len(service.lanes)),
    }
    if workers is not None:
        metrics.gauges |= {
            "slipway_transform_workers": ("Processes that run own code.", lambda: len(workers.numbers)),
            "slipway_transform_workers_busy": ("Those that work or are being started.", lambda: workers.busy),
            "slipway_transform_waiting": ("Calls that wait for one.", lambda: workers.waiting),
            "slipway_transform_restarts": ("How often one was replaced.", lambda: workers.restarts),
        }
        if loaded.tokens is not None:
            LOG.warning("texts are own code's to read: the model's tokenizer is not used")
    app.serve(service, codec)
    return service


async def _start_grpc(app: App, front: Listening, settings: Settings) -> "GrpcServer | None":
    """Start the gRPC server; None when the port is -1, or grpcio is not installed."""
    if settings.grpc_port < 0:
        return None
    try:
        from workloads.serve.grpc.edge import around
        from workloads.serve.grpc.server import GrpcServer
    except ImportError as error:
        LOG.warning("no gRPC: %s", error)
        return None
    limits = settings.http
    server = GrpcServer(
        app,
        limits.max_body_size,
        settings.nonfinite,
        limits.max_connections,
        front.http,
        limits.max_buffered,
        around(settings.edge, front.edge.keys, front.edge.log, app.metrics.grpc_replied),
    )
    server.turns = front.http.turns
    server.tells_time = settings.edge.server_timing
    context = front.sealed.grpc_context if front.sealed is not None else None
    await server.start(settings.host, settings.grpc_port, context)
    return server


async def drain(
    life: Lifecycle, http: HttpServer, grpc: "GrpcServer | None", service: Service, settings: Settings
) -> None:
    """Drain: not ready first, while everything is still served; then finish what is under way."""
    life.phase = Phase.DRAINING
    http.closing = True
    LOG.info("draining: not ready, serving for %g s more", settings.readiness_lead)
    await life.hurried(settings.readiness_lead)
    life.phase = Phase.STOPPING
    cut, _ = await asyncio.gather(
        http.finish(settings.drain_timeout),
        grpc.finish(settings.drain_timeout) if grpc is not None else asyncio.sleep(0),
    )
    service.batcher.close()
    if cut:
        LOG.warning("%d requests were cut off after %g s", cut, settings.drain_timeout)
        return
    try:
        async with asyncio.timeout(CLOSING_SECONDS):
            await service.batcher.drained()
            await service.close()
    except TimeoutError:
        LOG.warning("an engine still runs a batch that nobody waits for")
        return
    LOG.info("left in good order")


def name_of(where: str) -> str:
    """Name of a model by where it lies."""
    path = PurePosixPath(where.rstrip("/").rpartition("://")[2])
    return (path.stem if path.suffix == ".onnx" else path.name) or "model"
