"""What is done around requests: keys, origins, ids, times and the log, over HTTP and gRPC, each with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from pydantic import ValidationError

from slipway.api.serving.edge import Cors
from slipway.api.serving.inferenceservice import spec_problems
from tests.unit.serve.serving import POISON, Serving, serving
from workloads.errors import BadInput
from workloads.serve.edge import Edge, Keys
from workloads.serve.edge.access_log import AccessLog
from workloads.serve.edge.keys import MOST
from workloads.serve.edge.lines import MOST as MOST_LINES
from workloads.serve.edge.lines import Lines
from workloads.serve.errors import Unauthenticated
from workloads.serve.http import HttpLimits, HttpServer
from workloads.serve.settings import EdgeChoice

PAGE = "https://app.example.com"
INFER = "/v2/models/m/infer"
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]}
BAD = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [POISON]}]}


@asynccontextmanager
async def edged(choice: EdgeChoice, lines: list[bytes] | None = None) -> AsyncIterator[tuple[Serving, str, Edge]]:
    async with serving() as server:
        edge = Edge(server.app, choice, AccessLog(choice.sample, lines.append) if lines is not None else None)
        http = HttpServer(edge, HttpLimits())
        port = await http.start("127.0.0.1", 0)
        yield server, f"http://127.0.0.1:{port}", edge
        await http.finish(1)


async def ask(client: aiohttp.ClientSession, method: str, url: str, **rest: Any) -> tuple[int, Any, bytes]:
    async with client.request(method, url, **rest) as reply:
        return reply.status, reply.headers, await reply.read()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "first").write_text("open sesame\n")
    (tmp_path / "second").write_text("another")
    (tmp_path / "..data").mkdir()
    return tmp_path


async def test_without_a_key_nothing_is_told_but_health_and_metrics(keys: Path) -> None:
    async with edged(EdgeChoice(keys=keys)) as (server, base, _):
        for method, path in (
            ("GET", "/v2"),
            ("POST", INFER),
            ("POST", "/predict"),
            ("GET", "/nothing"),
            ("GET", "/v2/models/m"),
        ):
            status, headers, body = await ask(server.client, method, base + path)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="slipway"')
            assert b"X-Api-Key" in body
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/m/ready", "/"):
            assert (await ask(server.client, "GET", base + path))[0] == 200
        for path in (
            b"/metrics/../v2",
            b"/v2/health/../models/m",
            b"/v2/health%2f../models/m",
            b"//metrics",
            b"/v2/models/m%2finfer/ready",
            b"/v2/models/m/infer?/ready",
            b"/v2/health/nothing",
        ):
            # Nobody's client may straighten these out.
            reader, writer = await asyncio.open_connection("127.0.0.1", int(base.rpartition(":")[2]))
            writer.write(b"GET %b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % path)
            assert int((await reader.read()).split()[1]) in {401, 404}
            writer.close()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer open sesame"}, 200),
        ({"Authorization": "bearer another"}, 200),
        ({"X-Api-Key": "another"}, 200),
        ({"Authorization": "Basic YTpi", "X-Api-Key": "open sesame"}, 200),
        ({"Authorization": "Basic another"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"X-Api-Key": ""}, 401),
        ({"X-Api-Key": "anothe"}, 401),
        ({"X-Api-Key": "k" * 30000}, 401),
    ],
)
async def test_each_key_in_each_header(keys: Path, headers: dict[str, str], status: int) -> None:
    async with edged(EdgeChoice(keys=keys)) as (server, base, _):
        assert (await ask(server.client, "POST", base + INFER, json=ROW, headers=headers))[0] == status


async def test_the_operator_is_told_what_the_model_is_and_nothing_else(keys: Path) -> None:
    """status.servedModel comes from there; who knows the service's UID may read the status anyway."""
    async with edged(EdgeChoice(keys=keys, uid="3a-7f")) as (server, base, _):
        for said, method, path, status in (
            ("3a-7f", "GET", "/v2/models/m", 200),
            ("3a-7f", "GET", "/v2/models/m/config", 401),
            ("3a-7f", "GET", "/v2", 401),
            ("3a-7f", "POST", INFER, 401),
            ("3a-7", "GET", "/v2/models/m", 401),
            ("", "GET", "/v2/models/m", 401),
        ):
            found = await ask(server.client, method, base + path, headers={"Slipway-Service": said})
            assert found[0] == status, (said, path)
    async with edged(EdgeChoice(keys=keys)) as (server, base, _):
        assert (await ask(server.client, "GET", f"{base}/v2/models/m", headers={"Slipway-Service": ""}))[0] == 401


async def test_a_key_is_changed_without_a_restart_and_never_logged(keys: Path, caplog: Any) -> None:
    caplog.set_level(logging.DEBUG)
    found = Keys(keys, look_seconds=0)
    found.check(b"Bearer another", None)
    (keys / "second").write_text("new")
    found.check(None, b"new")
    with pytest.raises(Exception, match="none of this") as error:
        found.check(None, b"another")
    for file in ("first", "second"):
        (keys / file).unlink()
    found.check(None, b"new")
    assert not any(word in caplog.text + str(error.value) for word in ("another", "sesame", "new"))


def test_a_wrong_key_is_compared_with_all_and_never_in_its_own_length(keys: Path, monkeypatch: Any) -> None:
    """How long it takes must not tell how much of a key is right: digests of one length, all of them, to the end."""
    for number in range(5):
        (keys / f"more-{number}").write_text(f"key-{number}")
    found, compared = Keys(keys), []
    monkeypatch.setattr("hmac.compare_digest", lambda one, other: compared.append((one, other)) or one == other)
    for shown in (b"x", b"open sesame", b"open sesam", b"k" * 100_000):
        compared.clear()
        with contextlib.suppress(Unauthenticated):
            found.check(None, shown)
        assert [len(one) for one, _ in compared] == [32] * 7, shown[:20]


def test_a_secret_of_very_many_keys_is_read_as_far_as_is_said(tmp_path: Path) -> None:
    for number in range(MOST + 5):
        (tmp_path / f"k{number:04}").write_text(f"key-{number}")
    found = Keys(tmp_path)
    found.check(None, b"key-%d" % (MOST - 1))
    with pytest.raises(Unauthenticated):
        found.check(None, b"key-%d" % (MOST + 1))


def test_a_secret_without_a_key_ends_the_start_in_words(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"auth\.secretRef: the Secret team-keys is missing, or holds no key"):
        Keys(tmp_path / "gone", "team-keys")


async def test_a_browser_asks_before_it_asks_and_brings_no_key(keys: Path) -> None:
    choice = EdgeChoice(cors=Cors(allowOrigins=[PAGE], maxAge=60), keys=keys)
    asking = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    async with edged(choice) as (server, base, _):
        status, headers, body = await ask(server.client, "OPTIONS", base + INFER, headers=asking)
        assert (status, body) == (204, b"")
        assert headers["Access-Control-Allow-Origin"] == PAGE
        assert "X-Api-Key" in headers["Access-Control-Allow-Headers"]
        assert headers["Access-Control-Max-Age"] == "60"
        other = {**asking, "Origin": f"{PAGE}.evil.example"}
        _, headers, _ = await ask(server.client, "OPTIONS", base + INFER, headers=other)
        assert "Access-Control-Allow-Origin" not in headers
        assert headers.getall("Vary") == ["Origin"], "once"
        # The page must be able to read errors as well, or its author sees nothing but a failed fetch.
        status, headers, _ = await ask(server.client, "POST", base + INFER, json=ROW, headers={"Origin": PAGE})
        assert (status, headers["Access-Control-Allow-Origin"]) == (401, PAGE)


def test_any_origin_with_credentials_is_refused_in_words() -> None:
    with pytest.raises(ValidationError, match="name the origins in place of"):
        Cors(allowOrigins=["*"], allowCredentials=True)
    spec = {
        "predictor": {"model": {"uri": "pvc://c/m"}, "cors": {"allowOrigins": [PAGE, "*"], "allowCredentials": True}}
    }
    assert "name the origins in place of *" in str(spec_problems("m", spec))


async def test_the_page_asks_for_the_key_itself(keys: Path) -> None:
    """A browser sends none with an address that somebody has typed in."""
    async with edged(EdgeChoice(keys=keys)) as (server, base, _):
        status, _, body = await ask(server.client, "GET", base + "/")
        assert status == 200
        assert b'type="password" id="key"' in body
        assert body.count(b"known()") == 2, "sent with what describes and what predicts"


async def test_a_request_id_is_given_back_with_errors_too_and_made_on_demand() -> None:
    async with edged(EdgeChoice()) as (server, base, _):
        mine = {"X-Request-Id": "a-1"}
        for document, wanted in ((ROW, 200), (BAD, 400), ({}, 400)):
            status, headers, _ = await ask(server.client, "POST", base + INFER, json=document, headers=mine)
            assert (status, headers["X-Request-Id"]) == (wanted, "a-1")
        _, headers, _ = await ask(server.client, "POST", base + INFER, json=ROW)
        assert "X-Request-Id" not in headers
        assert "Server-Timing" not in headers
    async with edged(EdgeChoice(request_id=True)) as (server, base, _):
        names = set()
        for given in ("", "x" * 200, "two words"):
            _, headers, _ = await ask(server.client, "GET", f"{base}/v2", headers={"X-Request-Id": given})
            names.add(headers["X-Request-Id"])
        assert len(names) == 3
        assert all(len(name) == 32 for name in names)


async def test_the_time_in_the_queue_and_in_the_engine_is_told() -> None:
    async with edged(EdgeChoice(server_timing=True)) as (server, base, _):
        server.engine.seconds = 0.05
        _, headers, _ = await ask(server.client, "POST", base + INFER, json=ROW)
        said = dict(part.strip().split(";dur=") for part in headers["Server-Timing"].split(","))
        assert set(said) == {"queue", "compute", "total"}
        assert 50 <= float(said["compute"]) <= float(said["total"])


async def test_the_log_has_a_line_of_json_for_each_request_and_no_key(keys: Path) -> None:
    lines: list[bytes] = []
    async with edged(EdgeChoice(keys=keys, sample=100), lines) as (server, base, _):
        key = {"X-Api-Key": "another"}
        await ask(server.client, "POST", f"{base}{INFER}?token=secret", json=ROW, headers=key)
        await ask(server.client, "POST", base + INFER, json=ROW, headers={"X-Api-Key": "wrong-one"})
    first, second = map(orjson.loads, lines)
    assert (first["method"], first["path"], first["status"]) == ("POST", INFER, 200)
    assert first["computeSeconds"] >= 0
    assert len(first["requestId"]) == 32
    assert second["status"] == 401
    assert not any(word in b"".join(lines) for word in (b"another", b"wrong-one", b"secret"))


async def test_a_sampled_log_leaves_out_no_failure_of_the_server() -> None:
    lines: list[bytes] = []
    log = AccessLog(0, lines.append)
    async with edged(EdgeChoice(sample=0)) as (server, _, _):
        edge = Edge(server.app, EdgeChoice(), log)
        http = HttpServer(edge, HttpLimits())
        port = await http.start("127.0.0.1", 0)
        await ask(server.client, "POST", f"http://127.0.0.1:{port}{INFER}", json=ROW)
        assert not lines
        server.engine.dead = True
        await ask(server.client, "POST", f"http://127.0.0.1:{port}{INFER}", json=ROW)
        await asyncio.sleep(0)
        await http.finish(1)
    assert [orjson.loads(line)["status"] for line in lines] == [500]


def test_a_reader_of_the_log_that_stalls_holds_up_no_request_and_no_memory() -> None:
    written: list[bytes] = []
    gate = threading.Event()

    def write(line: bytes) -> None:
        gate.wait(20)
        written.append(line)

    log = Lines(write)
    for number in range(MOST_LINES + 500):
        log(b"%d\n" % number)  # with a write on the caller's thread, the first would stand still
    assert len(log._waiting) <= MOST_LINES
    gate.set()
    log.close()
    told = b"".join(written).splitlines()
    lost = sum(orjson.loads(line)["dropped"] for line in told if line.startswith(b"{"))
    assert lost + sum(not line.startswith(b"{") for line in told) == MOST_LINES + 500
    assert lost > 0
