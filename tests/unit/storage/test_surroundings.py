"""Proxies and a certificate authority of one's own: each driver of a store uses what docs/platforms.md says of it."""

from __future__ import annotations

import base64
import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.paths import REPOSITORY
from tests.unit.docs.blocks import section

READ = """
import sys
from workloads.storage import object_stores
files, path = object_stores.of(sys.argv[1])
files.cat_file(path)
"""
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_MAX_ATTEMPTS": "1"}
STORE = "store.example.com"
SETTINGS = '{"client_kwargs": {"headers": {"X-Mine": "1"}}}'


class Server(http.server.ThreadingHTTPServer):
    """Answers everything with a word, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.send_response(200)
        for name, value in {
            "Content-Length": "4",
            "ETag": '"1"',
            "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"word")

    do_HEAD = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        self.server.asked.append(f"CONNECT {self.path}")
        self.send_error(502)

    def log_message(self, *words: object) -> None:
        """Stay silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        yield one
        one.shutdown()


def read(uri: str, **more: str) -> subprocess.CompletedProcess[str]:
    """As a pod does it, with no proxy of this machine's."""
    known = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env = {**known, "PYTHONPATH": f"{REPOSITORY / 'operator'}:{REPOSITORY}", **more}
    return subprocess.run(
        [sys.executable, "-c", READ, uri], capture_output=True, text=True, check=False, env=env, timeout=120
    )


@pytest.mark.parametrize(
    ("uri", "more", "host"),
    [
        (f"https://{STORE}/x", {}, STORE),
        pytest.param(f"https://{STORE}/x", {"FSSPEC_HTTPS": SETTINGS}, STORE, marks=pytest.mark.slow),
        ("s3://bucket/x", {"AWS_ENDPOINT_URL": f"https://{STORE}", **KEYS}, STORE),
        ("hf://owner/name@main/x", {}, "huggingface.co"),
    ],
    ids=["https", "https-with-settings", "s3", "hf"],
)
def test_every_store_is_asked_through_the_proxy(server: Server, uri: str, more: dict[str, str], host: str) -> None:
    read(uri, HTTPS_PROXY=f"http://127.0.0.1:{server.server_port}", **more)
    assert f"CONNECT {host}:443" in server.asked


def test_a_host_of_no_proxy_is_asked_itself(server: Server) -> None:
    own = f"http://127.0.0.1:{server.server_port}"
    done = read(f"{own}/x", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY="127.0.0.1")
    assert done.returncode == 0, done.stderr
    assert "/x" in server.asked


@pytest.fixture
def authority(server: Server, tmp_path: Path) -> Path:
    """Certificate of an authority that this machine does not know; the server's is signed by it."""
    made = subprocess.run(
        [sys.executable, "-m", "slipway.runtime.self_signed", "localhost"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "operator")},
    )
    data = yaml.safe_load(made.stdout)["data"]
    for name, value in data.items():
        (tmp_path / name).write_bytes(base64.b64decode(value))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return tmp_path / "ca.crt"


STORES = {
    "https": ("https://localhost:{port}/x", {}),
    "s3": ("s3://bucket/x", {"AWS_ENDPOINT_URL": "https://localhost:{port}", **KEYS}),
    "hf": ("hf://owner/name@main/x", {"HF_ENDPOINT": "https://localhost:{port}"}),
}


@pytest.mark.parametrize("scheme", ["https", "hf", pytest.param("s3", marks=pytest.mark.slow)])
def test_the_authority_is_named_by_the_variable_that_the_page_says(
    server: Server, authority: Path, scheme: str
) -> None:
    page = section(REPOSITORY / "docs" / "platforms.md", "## A certificate authority of your own")
    (variable,) = [line.split("|")[2].strip(" `") for line in page.splitlines() if line.startswith(f"| `{scheme}://`")]
    uri, more = STORES[scheme]
    port = server.server_port
    filled = {name: value.format(port=port) for name, value in more.items()}
    read(uri.format(port=port), **filled)
    assert not server.asked, "a stranger's certificate was trusted"
    read(uri.format(port=port), **filled, **{variable: str(authority)})
    assert server.asked
