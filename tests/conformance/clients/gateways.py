"""Gateways as Debian packages them, before a server's two ports: `python -m tests.conformance.clients.gateways`.

Each is asked over HTTP/1.1 and gRPC by plain connections and by TLS that ends there. Those that are not installed are
not tried. Prints, by gateway and door, which of the inputs were answered wrongly.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from onnx import TensorProto

from tests.conformance.clients.grpc_programs import calls
from tests.conformance.clients.inputs import Inputs
from tests.conformance.clients.programs import SOURCES
from tests.conformance.server import Server
from tests.unit.serve.certificates import pair
from tests.unit.serve.onnx_models import identity

NGINX = """user root; daemon off; pid {folder}/pid; error_log {folder}/errors; worker_processes 1; events {{}}
http {{
  access_log off; client_max_body_size 64m; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream rest {{ server 127.0.0.1:{http}; keepalive 4; }}
  upstream calls {{ server 127.0.0.1:{grpc}; keepalive 4; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://rest; }} }}
  server {{ listen 127.0.0.1:{h2c} http2; location / {{ grpc_pass grpc://calls; }} }}
  server {{
    listen 127.0.0.1:{tls} ssl http2; ssl_certificate {folder}/chain; ssl_certificate_key {folder}/key;
    location / {{ proxy_pass http://rest; }}
    location /inference. {{ grpc_pass grpc://calls; }}
    location /grpc. {{ grpc_pass grpc://calls; }}
  }}
}}"""
HAPROXY = """defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend plain
  bind 127.0.0.1:{plain}
  default_backend rest
frontend h2c
  bind 127.0.0.1:{h2c} proto h2
  default_backend calls
frontend tls
  bind 127.0.0.1:{tls} ssl crt {folder}/both alpn h2,http/1.1
  use_backend calls if {{ path_beg /inference. /grpc. }}
  default_backend rest
backend rest
  http-reuse always
  server one 127.0.0.1:{http}
backend calls
  server one 127.0.0.1:{grpc} proto h2
"""
CADDY = """{{
  admin off
  auto_https off
  storage file_system {folder}/storage
}}
http://127.0.0.1:{plain} {{
  reverse_proxy 127.0.0.1:{http}
}}
https://localhost:{tls} {{
  tls {folder}/chain {folder}/key
  @calls path /inference.* /grpc.*
  reverse_proxy @calls h2c://127.0.0.1:{grpc}
  reverse_proxy 127.0.0.1:{http}
}}
"""
START_SECONDS = 30


@dataclass(frozen=True)
class Gateway:
    """`command` reads its settings from FILE; `h2c`: it takes HTTP/2 without TLS."""

    name: str
    settings: str
    command: tuple[str, ...]
    h2c: bool = True

    @property
    def there(self) -> bool:
        """True where it is installed."""
        return shutil.which(self.command[0]) is not None

    @contextmanager
    def before(self, server: Server, folder: Path) -> Iterator[dict[str, int]]:
        """Ports of its doors, while it runs."""
        ports = {name: _free_port() for name in ("plain", "h2c", "tls")}
        chain, key = pair()
        for name, content in {"chain": chain, "key": key, "both": key + chain}.items():
            (folder / name).write_bytes(content)
        text = self.settings.format(folder=folder, http=server.port, grpc=server.grpc_port, **ports)
        (folder / "settings").write_text(text)
        command = [part.replace("FILE", str(folder / "settings")) for part in self.command]
        # Caddy keeps its last settings under the home folder otherwise.
        environment = {**os.environ, "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
        try:
            _wait_for(ports["tls"], process)
            yield ports
        finally:
            process.terminate()
            process.wait()

    def faults(self, server: Server, folder: Path) -> dict[str, dict[str, str]]:
        """By door: inputs that were answered wrongly."""
        with self.before(server, folder) as ports:
            chain = grpc.ssl_channel_credentials((folder / "chain").read_bytes())
            found = {
                "HTTP/1.1": _rest(server, folder / "plain", f"http://127.0.0.1:{ports['plain']}"),
                "HTTP/2 over TLS": _rest(server, folder / "tls", f"https://localhost:{ports['tls']}", "-k", "--http2"),
                "gRPC over TLS": _calls(server, grpc.secure_channel(f"localhost:{ports['tls']}", chain)),
            }
            if self.h2c:
                found["gRPC"] = _calls(server, grpc.insecure_channel(f"127.0.0.1:{ports['h2c']}"))
            return found


GATEWAYS = [
    Gateway("nginx", NGINX, ("nginx", "-c", "FILE")),
    Gateway("haproxy", HAPROXY, ("haproxy", "-f", "FILE")),
    Gateway("caddy", CADDY, ("caddy", "run", "--config", "FILE", "--adapter", "caddyfile"), h2c=False),
]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the gateway did not start")


def _rest(server: Server, folder: Path, base: str, *options: str) -> dict[str, str]:
    """All inputs, by one curl."""
    inputs, answers = Inputs(server.name), folder / "answers"
    answers.mkdir(parents=True)
    command = [sys.executable, str(SOURCES / "curl.py"), *options, "--", base, str(inputs.write(folder)), str(answers)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    return {name: fault for name, fault in inputs.judge(done.stdout, answers).items() if fault}


def _calls(server: Server, channel: grpc.Channel) -> dict[str, str]:
    """All calls, one after the other on one channel, twice: a gateway shares its own connections among them."""
    faults = {}
    with channel:
        for name, call in [*calls(server.name).items()] * 2:
            packed = grpc.Compression.Gzip if name.startswith("gzip") else None
            try:
                answer = channel.unary_unary(f"/{call.method}")(call.message, timeout=30, compression=packed)
                status = "OK" if call.right(answer) else "another answer"
            except grpc.RpcError as error:
                status = error.code().name
            if status != call.status:
                faults[name] = f"{status} for {call.status}"
    return faults


def main() -> int:
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = identity(folder / "same.onnx", TensorProto.FLOAT)
        server = Server(folder / "log", "--model", str(model), "--engine", "onnxruntime").wait()
        try:
            for gateway in GATEWAYS:
                if gateway.there:
                    (folder / gateway.name).mkdir()
                    found[gateway.name] = gateway.faults(server, folder / gateway.name)
        finally:
            server.stop()
    print(json.dumps(found, indent=1))
    return int(any(fault for doors in found.values() for fault in doors.values()))


if __name__ == "__main__":
    sys.exit(main())
