"""The activator's life: listen, forward, and on SIGTERM leave when nobody needs it any more. Called by command.py."""

import asyncio
import logging
import signal
from dataclasses import dataclass

from workloads.activator.backend import Backend
from workloads.activator.control import Control
from workloads.activator.proxy import Limits, Proxy
from workloads.activator.request_tracker import RequestTracker
from workloads.activator.wire_protocol import Grpc, Http

LOG = logging.getLogger("slipway.activator")


@dataclass(frozen=True)
class Settings:
    """Ports of 0 are of the system's choice. Times in seconds."""

    backend: str
    backend_http: int
    backend_grpc: int
    host: str | None
    http: int
    grpc: int
    control: int
    limits: Limits
    # Not ready any more, but still taking clients, so that balancers can notice; then for those who are served.
    lead: float
    drain: float


class Activator:
    """Two proxies and what they count."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tracker = RequestTracker()
        self.control = Control(self.tracker)
        limits = settings.limits
        self.http = Proxy(Backend(settings.backend, settings.backend_http), self.tracker, limits, Http())
        self.grpc = Proxy(Backend(settings.backend, settings.backend_grpc), self.tracker, limits, Grpc())

    async def start(self) -> None:
        """Listen on all three ports. Ready when it returns."""
        settings = self.settings
        await self.control.start(settings.host, settings.control)
        await self.http.start(settings.host, settings.http)
        await self.grpc.start(settings.host, settings.grpc)
        self.control.ready = True
        LOG.info("ready: HTTP %d, gRPC %d, control %d", self.http.port, self.grpc.port, self.control.port)

    async def drain(self) -> None:
        """Drain: not ready first; who comes late is still held, and who is held may still be served."""
        self.control.ready = False
        await asyncio.sleep(self.settings.lead)
        await asyncio.gather(self.http.close(self.settings.drain), self.grpc.close(self.settings.drain))
        self.control.close()
        LOG.info("left in good order")


async def run(settings: Settings) -> None:
    """Run the activator until SIGTERM or Ctrl-C."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    activator = Activator(settings)
    await activator.start()
    await told.wait()
    await activator.drain()
