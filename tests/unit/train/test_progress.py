"""Posts to a real HTTPS server: the wire format, rotation of the token, and a server that misbehaves."""

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.train.processes import train, wait_for
from workloads.pod.progress import CA_CERT, TOKEN, URL, Poster, Snapshot, payload
from workloads.train.telemetry.terminal import Bar, Clock


@dataclass
class Endpoint:
    """What the server was asked, and how it answers."""

    environment: dict[str, str]
    token: Path
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    code: int = 200
    location: str = ""
    delay: threading.Event | None = None

    def answer(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        self.headers.append(dict(handler.headers))
        self.bodies.append(json.loads(handler.rfile.read(int(handler.headers["Content-Length"]))))
        if self.delay is not None:
            self.delay.wait(30)
        handler.send_response(self.code)
        if self.location:
            handler.send_header("Location", self.location)
        handler.end_headers()


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "slipway")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "ca.crt", folder / "key.pem"


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    ca, key = certificate(tmp_path)
    token = tmp_path / "token"
    token.write_text("first\n")
    found = Endpoint({}, token)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.answer(self)

        def log_message(self, *_arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(ca, key)
    server.socket = trust.wrap_socket(server.socket, server_side=True)
    url = f"https://127.0.0.1:{server.server_address[1]}/apis/x/status"
    found.environment = {URL: url, CA_CERT: str(ca), TOKEN: str(token)}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    if found.delay is not None:
        found.delay.set()
    server.shutdown()
    server.server_close()


def snapshot(step: int) -> Snapshot:
    return Snapshot(step, 10, 7, {"loss": 0.123456789, "accuracy": 0.5, "epoch": 1.0, "samples_per_second": 1234.5})


def test_the_body_is_keps() -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert payload(snapshot(4), when) == {
        "trainerStatus": {
            "progressPercentage": 40,
            "estimatedRemainingSeconds": 7,
            "metrics": [
                {"name": "step", "value": "4"},
                {"name": "total_steps", "value": "10"},
                {"name": "loss", "value": "0.123457"},
                {"name": "accuracy", "value": "0.5"},
                {"name": "epoch", "value": "1"},
                {"name": "samples_per_second", "value": "1234.5"},
            ],
            "lastUpdatedTime": "2026-01-02T03:04:05Z",
        }
    }
    assert payload(Snapshot(10, 10), when)["trainerStatus"]["progressPercentage"] == 99
    assert "estimatedRemainingSeconds" not in payload(Snapshot(0, 10), when)["trainerStatus"]


def test_posts_with_the_token_of_the_moment(endpoint: Endpoint) -> None:
    poster = Poster(endpoint.environment, interval=0.05)
    poster.update(snapshot(1))
    wait_for(lambda: len(endpoint.bodies) == 1, "the first post")
    endpoint.token.write_text("second\n")
    poster.update(snapshot(2))
    wait_for(lambda: len(endpoint.bodies) == 2, "the second post")
    poster.close(snapshot(10))
    tokens = [headers["Authorization"] for headers in endpoint.headers]
    assert tokens == ["Bearer first", "Bearer second", "Bearer second"]
    assert all(headers["Content-Type"] == "application/json" for headers in endpoint.headers)
    assert endpoint.bodies[-1]["trainerStatus"]["progressPercentage"] == 100


def test_newest_wins_and_nobody_waits(endpoint: Endpoint) -> None:
    endpoint.delay = threading.Event()
    poster = Poster(endpoint.environment, interval=0.05)
    poster.update(snapshot(1))
    wait_for(lambda: len(endpoint.bodies) == 1, "the first post")
    started = time.monotonic()
    for step in range(2, 9):
        poster.update(snapshot(step))
    assert time.monotonic() - started < 5
    endpoint.delay.set()
    wait_for(lambda: len(endpoint.bodies) == 2, "the second post")
    poster.close()
    steps = [body["trainerStatus"]["metrics"][0]["value"] for body in endpoint.bodies]
    assert steps == ["1", "8"]


def test_posts_keep_their_distance(endpoint: Endpoint) -> None:
    poster = Poster(endpoint.environment, interval=30)
    for step in range(1, 6):
        poster.update(snapshot(step))
        wait_for(lambda: endpoint.bodies, "the first post")
    poster.close(snapshot(10))
    assert len(endpoint.bodies) == 2  # one at once, and the last; none of the four in between


@pytest.mark.parametrize("break_it", ["refuses", "redirects", "is unknown", "has gone", "token missing"])
def test_a_bad_server_does_no_harm(endpoint: Endpoint, break_it: str, capfd: pytest.CaptureFixture[str]) -> None:
    endpoint.code = {"refuses": 401, "redirects": 302}.get(break_it, 200)
    endpoint.location = "https://127.0.0.1:1/elsewhere" if break_it == "redirects" else ""
    environment = dict(endpoint.environment)
    if break_it == "is unknown":
        del environment[CA_CERT]
    if break_it == "has gone":
        environment[URL] = "https://127.0.0.1:1/status"
    if break_it == "token missing":
        endpoint.token.unlink()
    poster = Poster(environment, interval=0.01)
    poster.update(snapshot(1))
    poster.close(snapshot(10))
    complaints = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning: progress")]
    assert len(complaints) == 1
    assert "the work goes on" in complaints[0]
    assert len(endpoint.bodies) in ({1, 2} if break_it in {"refuses", "redirects"} else {0})


def test_a_whole_run_posts_what_the_operator_reads(
    endpoint: Endpoint, job_file: Callable[..., Path], tmp_path: Path
) -> None:
    with train(job_file(epochs=3), 1, tmp_path / "logs", **endpoint.environment) as (process,):
        assert process.wait() == 0, process.output
    last = endpoint.bodies[-1]["trainerStatus"]
    assert last["progressPercentage"] == 100
    assert last["estimatedRemainingSeconds"] == 0
    metrics = {metric["name"]: float(metric["value"]) for metric in last["metrics"]}
    known = {"step", "total_steps", "loss", "accuracy", "epoch", "samples_per_second", "peak_memory_bytes"}
    assert set(metrics) == known
    assert metrics["peak_memory_bytes"] > 50 << 20
    assert (metrics["step"], metrics["total_steps"], metrics["epoch"]) == (66, 66, 3)
    assert metrics["accuracy"] > 0.8


def test_silence_without_a_server() -> None:
    poster = Poster({})
    poster.update(snapshot(1))
    poster.close(snapshot(10))
    assert not poster._thread.is_alive()


def test_clock_counts_this_life_only() -> None:
    clock = Clock(step=100, now=50.0)
    assert clock.estimate(100, 200, 64, 50.0) == (0.0, None)
    assert clock.estimate(120, 200, 64, 60.0) == (128.0, 40)


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, float]], dict[str, Any]]:
    from workloads.pod.termination import VARIABLE, write_message

    path = tmp_path / "termination-log"
    monkeypatch.setenv(VARIABLE, str(path))

    def write(metrics: dict[str, float]) -> dict[str, Any]:
        write_message("pvc://claim/model", f"sha256:{'a' * 64}", metrics, 264, 30)
        assert len(path.read_bytes()) <= 4096
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    return write


def test_termination_message(message: Callable[[dict[str, float]], dict[str, Any]]) -> None:
    assert message({"accuracy": 0.98, "samples": 359}) == {
        "artifact": {
            "uri": "pvc://claim/model",
            "digest": f"sha256:{'a' * 64}",
            "metrics": [{"name": "accuracy", "value": "0.98"}, {"name": "samples", "value": "359"}],
        },
        "steps": 264,
        "resumedFromStep": 30,
    }


def test_termination_message_fits(message: Callable[[dict[str, float]], dict[str, Any]]) -> None:
    found = message({f"metric-{number}": number / 7 for number in range(500)})
    assert found["artifact"]["metrics"][0]["name"] == "metric-0"
    assert len(found["artifact"]["metrics"]) > 50


def test_the_bar_of_a_resumed_run_counts_its_own_steps_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(100)
    bar.resumed(40)
    bar.step(Snapshot(41, 100, None, {"epoch": 1.0, "loss": 0.5}), 2)
    bar.close()
    assert "41/100" in capsys.readouterr().err
    assert (bar._bar.n, bar._bar.format_dict["initial"]) == (41, 40)
