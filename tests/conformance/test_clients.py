"""Clients that others wrote, as they are installed: each sends an inference its own way and must be answered."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.conformance.requests import GOOD

JAVA = """
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] told) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int turn = 0; turn < 3; turn++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(told[0]))
                .header("Content-Type", "application/json")
                .POST(HttpRequest.BodyPublishers.ofFile(java.nio.file.Path.of(told[1]))).build();
            HttpResponse<String> reply = client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(reply.statusCode() + " " + reply.body());
        }
    }
}
"""


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "body.json"
    path.write_bytes(orjson.dumps(GOOD))
    return path


def url(server) -> str:
    return f"http://127.0.0.1:{server.port}/v2/models/{server.name}/infer"


def test_java_offers_http_2_with_every_first_request(serve, body, tmp_path) -> None:
    source = tmp_path / "Ask.java"
    source.write_text(JAVA)
    said = run("java", str(source), url(serve("simple")), str(body))
    assert said.count('200 {"model_name":"simple"') == 3, said


@pytest.mark.parametrize("more", [["--http2"], ["--http1.0"], ["-H", "Transfer-Encoding: chunked"], ["--http2", "-I"]])
def test_curl(serve, body, more) -> None:
    head = "-I" in more
    data = [] if head else ["--data-binary", f"@{body}"]
    said = run("curl", "-sS", "-m", "20", "-w", " %{http_code}", *more, *data, url(serve("simple")))
    assert said.endswith(" 405" if head else " 200"), said


def test_ab_keeps_its_connections(serve, body) -> None:
    said = run("ab", "-k", "-q", "-s", "20", "-n", "200", "-c", "4", "-p", str(body), url(serve("simple")))
    assert "Failed requests:        0" in said, said
    assert "Keep-Alive requests:    200" in said, said


def test_h2load_in_its_http_1_mode(serve, body) -> None:
    said = run("h2load", "--h1", "-n", "200", "-c", "4", "-d", str(body), url(serve("simple")))
    assert "200 succeeded" in said, said
