"""TLS from a Secret's files: HTTP, gRPC, copies, the operator's questions and the activator, with real connections."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from slipway.runtime.scraping.scrape import Scraper, ScrapeResult
from tests.unit.serve.certificates import pair, written
from tests.unit.serve.serving import Serving, serving
from workloads.activator.wire_protocol import SETTINGS, Http2Frames, sealed
from workloads.errors import BadInput
from workloads.pod import listener
from workloads.serve.edge.certificates import Certificates
from workloads.serve.grpc.server import GrpcServer
from workloads.serve.http import HttpLimits, HttpServer
from workloads.serve.mirror import Mirror

INFER = "/v2/models/m/infer"
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}


@asynccontextmanager
async def sealed_server(folder: Path) -> AsyncIterator[tuple[Serving, Certificates, int]]:
    certificates = Certificates(folder, look_seconds=0)
    async with serving() as server:
        http = HttpServer(server.app, HttpLimits(linger=0.1, sweep=0.05, farewell=0.2), seal=certificates.context)
        port = await http.start("127.0.0.1", 0)
        yield server, certificates, port
        await http.finish(1)


def believing(chain: bytes) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(cadata=chain.decode())
    return context


async def ask(port: int, context: ssl.SSLContext, path: str = "/v2", document: Any = None) -> tuple[int, Any]:
    """By a connection of its own."""
    async with aiohttp.ClientSession() as client:
        method, url = "GET" if document is None else "POST", f"https://localhost:{port}{path}"
        async with client.request(method, url, json=document, ssl=context) as reply:
            return reply.status, await reply.json()


async def test_a_new_certificate_holds_for_new_connections_and_a_wrong_one_for_none(
    tmp_path: Path, caplog: Any
) -> None:
    first, second = pair(), pair()
    written(tmp_path, *first)
    async with sealed_server(tmp_path) as (_, _, port):
        assert (await ask(port, believing(first[0]), INFER, ROW))[1]["outputs"][0]["data"] == [2.0]
        async with aiohttp.ClientSession() as client:
            old = f"https://localhost:{port}/v2"
            async with client.get(old, ssl=believing(first[0])) as reply:
                await reply.read()
            written(tmp_path, *second)
            assert (await ask(port, believing(second[0])))[0] == 200
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await ask(port, believing(first[0]))
            written(tmp_path, first[0], second[1])
            assert (await ask(port, believing(second[0])))[0] == 200, "of two that do not match, neither is taken"
    assert "not the key of the first certificate" in caplog.text
    assert "PRIVATE" not in caplog.text


async def test_the_same_over_grpc(tmp_path: Path) -> None:
    first, second = pair(), pair()
    written(tmp_path, *first)

    async def live(port: int, chain: bytes) -> Any:
        credentials = grpc.ssl_channel_credentials(chain)
        async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
            return await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=10)

    async with serving() as server:
        listening = GrpcServer(server.app, 1 << 20, False, 100)
        port = await listening.start("localhost", 0, Certificates(tmp_path, look_seconds=0).grpc_context)
        assert await live(port, first[0])
        written(tmp_path, *second)
        assert await live(port, second[0])
        with pytest.raises(grpc.aio.AioRpcError):
            await live(port, first[0])
        await listening.finish(0)


@pytest.mark.parametrize(
    ("chain", "key", "words"),
    [
        (None, None, "is missing, or has no tls.crt and tls.key"),
        (pair()[0], pair()[1], "tls.key is not the key of the first certificate in tls.crt"),
        (*pair(password=b"word"), "tls.key is encrypted: write it without a password"),
        (b"", b"", "cannot be read as PEM"),
        (b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n", pair()[1], "cannot be read as PEM"),
    ],
    ids=["no files", "key of another", "encrypted key", "empty files", "no certificate"],
)
def test_what_cannot_be_used_ends_the_start_in_words(
    tmp_path: Path, chain: bytes | None, key: bytes | None, words: str
) -> None:
    if chain is not None and key is not None:
        written(tmp_path, chain, key)
    with pytest.raises(BadInput, match=words) as error:
        Certificates(tmp_path, "digits-tls")
    assert str(error.value).startswith("tls.secretRef: the Secret digits-tls: ")


async def test_stalled_handshakes_hold_up_nobody_and_not_the_end(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(listener, "HANDSHAKES", 20)
    chain, key = pair()
    written(tmp_path, chain, key)
    async with sealed_server(tmp_path) as (_, _, port):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        assert (await ask(port, believing(chain)))[0] == 200
        cut = await asyncio.wait_for(silent[0][0].read(), 10)
        assert cut == b"", "the oldest make way"
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < listener.HANDSHAKE_SECONDS
    for _, writer in silent:
        writer.close()


async def test_a_client_in_the_open_is_cut_off_and_the_next_one_served(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    chain, key = pair()
    written(tmp_path, chain, key)
    async with sealed_server(tmp_path) as (_, _, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 10)
        writer.close()
        assert (await ask(port, believing(chain)))[0] == 200


async def test_large_bodies_both_ways_and_pipelines(tmp_path: Path) -> None:
    chain, key = pair()
    written(tmp_path, chain, key)
    rows = 200_000
    document = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, rows], "data": [1.5] * rows}]}
    async with sealed_server(tmp_path) as (_, _, port):
        status, answer = await ask(port, believing(chain), INFER, document)
        assert (status, len(answer["outputs"][0]["data"])) == (200, rows)
        reader, writer = await asyncio.open_connection("localhost", port, ssl=believing(chain))
        writer.write(b"GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n" * 40 + b"GET /v2 HTTP/1.0\r\nHost: h\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 20)).count(b"200 OK") == 41
        writer.close()


async def test_the_operator_reads_figures_by_tls(tmp_path: Path) -> None:
    written(tmp_path, *pair())
    async with sealed_server(tmp_path) as (_, _, port):
        scraper, heard = Scraper(), asyncio.Queue[Any]()
        for url in (f"https://127.0.0.1:{port}/metrics", f"http://127.0.0.1:{port}/metrics"):
            assert scraper.ask(url, "team", {"pod": url}, bytes, heard.put_nowait)
        pages: list[ScrapeResult[bytes]] = [(await asyncio.wait_for(heard.get(), 20))["pod"] for _ in range(2)]
        said = [page.said for page in pages if page.said is not None]
        assert len(said) == 1
        assert b"slipway_replies" in said[0]
        assert [page.error for page in pages if page.said is None] != [""]
        await scraper.close()


async def test_the_operator_waits_for_no_handshake_without_end() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b"\x16\x03\x03\x40\x00\x0b" + b"\xff" * 0x3FFF)  # a certificate that never ends
            await writer.drain()

    endless = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = endless.sockets[0].getsockname()[1]
    scraper, heard = Scraper(timeout=2.0), asyncio.Queue[Any]()
    scraper.ask("a", "team", {"pod": f"https://127.0.0.1:{port}/metrics"}, bytes, heard.put_nowait)
    page = (await asyncio.wait_for(heard.get(), 20))["pod"]
    assert page.said is None
    assert page.error
    endless.close()


@pytest.mark.parametrize("same", [True, False])
async def test_copies_go_to_a_revision_of_the_same_issuer_and_to_nobody_else(tmp_path: Path, same: bool) -> None:
    """They carry clients' keys and contents."""
    mine = pair()
    other = mine if same else pair()
    here, there = tmp_path / "here", tmp_path / "there"
    written(here, *mine)
    written(there, *other)
    async with sealed_server(there) as (server, _, port):
        told = {"url": f"https://127.0.0.1:{port}", "percent": 100}
        (tmp_path / "mirror.json").write_text(json.dumps(told))
        trust = Certificates(here).trust
        server.app.mirror = Mirror(tmp_path / "mirror.json", server.app.metrics.copies, 0.01, trust)
        following = asyncio.create_task(server.app.mirror.follow())
        async with asyncio.timeout(20):
            while server.app.mirror._target is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await server.infer([[1.0]])
            while not server.app.metrics.copies:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert dict(server.app.metrics.copies) == {"sent" if same else "failed": 1}
        assert len(server.engine.batches) == (2 if same else 1)
        following.cancel()


def test_an_activator_hears_requests_by_tls_and_answers_none() -> None:
    """It has no key: were frames looked for in what is sealed, a client would wait for ever."""
    ear = Http2Frames()
    assert ear.asks(b"\x16\x03\x01\x02\x00\x01")
    assert ear.asks(b"\x00" * 100)
    assert sealed(b"\x16\x03\x01")
    assert not sealed(b"PRI * HTTP/2.0")
    assert not Http2Frames().asks(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SETTINGS)
