"""Client for programs of asyncio: the same calls, each in a thread of its own, so that the loop goes on."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from slipway.client.client import Client

_CALLS = frozenset({"train", "quantize", "serve", "apply", "get", "list"})
_WAITING = frozenset({"wait", "refresh", "predict", "progress", "pods", "suspend", "resume", "delete"})


class AsyncResource:
    """A resource or a local run whose calls are awaited; its other attributes are as they are."""

    def __init__(self, resource: Any) -> None:
        """Hold what the client gave."""
        self.resource = resource

    def __repr__(self) -> str:
        """Representation of the resource itself."""
        return repr(self.resource)

    def __getattr__(self, name: str) -> Any:
        """Attribute of the resource; a call that waits becomes a coroutine."""
        found = getattr(self.resource, name)
        return _awaited(found) if name in _WAITING else found

    async def logs(self, **options: Any) -> AsyncIterator[str]:
        """Lines of the log, as they come."""
        lines: Iterator[str] = await asyncio.to_thread(self.resource.logs, **options)
        while (line := await asyncio.to_thread(next, lines, None)) is not None:
            yield line


class AsyncClient:
    """Client with `await`: train, quantize, serve, apply, get and list, with Client's arguments."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Take Client's own arguments."""
        self._client = Client(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """Call of the client as a coroutine."""
        if name not in _CALLS:
            raise AttributeError(name)
        return _awaited(getattr(self._client, name))


def _awaited(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    async def wrapped(*arguments: Any, **options: Any) -> Any:
        for index, one in enumerate(arguments):
            if isinstance(one, AsyncResource):
                arguments = (*arguments[:index], one.resource, *arguments[index + 1 :])
        options = {key: value.resource if isinstance(value, AsyncResource) else value for key, value in options.items()}
        found = await asyncio.to_thread(functools.partial(call, *arguments, **options))
        return _held(found)

    return wrapped


def _held(found: Any) -> Any:
    if isinstance(found, list):
        return [_held(one) for one in found]
    return AsyncResource(found) if hasattr(found, "wait") and hasattr(found, "logs") else found
