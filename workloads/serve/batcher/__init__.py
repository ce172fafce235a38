"""Dynamic batching of requests. Pure asyncio: knows neither arrays nor engines nor HTTP.

A request runs at once when a lane (one engine instance) is idle; only while all lanes are busy do requests collect.
Everything is bounded: rows and bytes waiting, rows in a batch, the time each may take.
"""

from workloads.serve.batcher.batch_execution import EngineInstance
from workloads.serve.batcher.batcher import Batcher, Limits
from workloads.serve.batcher.observer import BatchObserver
from workloads.serve.batcher.ticket import Ticket

__all__ = ["BatchObserver", "Batcher", "EngineInstance", "Limits", "Ticket"]
