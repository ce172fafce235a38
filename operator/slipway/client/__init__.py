"""Python client: train, quantize and serve from a program or a notebook, in a cluster or on this machine.

Needs the extra `client`: `pip install '.[client]'`; and what `workloads` needs for runs with `local=True`.
"""

from slipway.client.asynchronous import AsyncClient
from slipway.client.client import Client
from slipway.client.errors import (
    ClientError,
    DeniedError,
    ExistsError,
    FailedError,
    FunctionError,
    MissingError,
    SpecError,
    UnreachableError,
    WaitTimeoutError,
)
from slipway.client.function import Function

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "DeniedError",
    "ExistsError",
    "FailedError",
    "Function",
    "FunctionError",
    "MissingError",
    "SpecError",
    "UnreachableError",
    "WaitTimeoutError",
]
