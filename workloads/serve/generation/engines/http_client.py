"""Requests to a server on this machine: by HTTP/1.0, whose replies end with the connection and are not chunked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

LINE = 16 << 20  # bytes of one event


class Refused(Exception):  # noqa: N818 (an answer, no fault of ours)
    """A status that is no success, with what was said."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@asynccontextmanager
async def asked(port: int, path: str, document: Any = None) -> AsyncIterator[asyncio.StreamReader]:
    """The body of a reply, as it comes. Refused for a status from 300 on; OSError where nobody answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=LINE)
    try:
        body = b"" if document is None else orjson.dumps(document)
        method = "GET" if document is None else "POST"
        head = f"{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status = int((await reader.readline()).split()[1] or b"0")
        while (await reader.readline()).strip():
            pass
        if status >= 300:
            raise Refused(status, _words(await reader.read(LINE)))
        yield reader
    except (IndexError, ValueError, asyncio.IncompleteReadError) as error:
        raise ConnectionError(f"no HTTP was answered: {error}") from error
    finally:
        writer.transport.abort()  # the server sees at once that nobody reads


def _words(body: bytes) -> str:
    try:
        said = orjson.loads(body)
        found = said.get("error", said)
        return str(found.get("message", found) if isinstance(found, dict) else found)
    except (ValueError, AttributeError):
        return body.decode(errors="replace")[:500]


async def events(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Server-sent events with JSON, until [DONE] or the end."""
    while line := await reader.readline():
        data = line.removeprefix(b"data: ").strip() if line.startswith(b"data: ") else b""
        if data == b"[DONE]":
            return
        if data:
            yield orjson.loads(data)
