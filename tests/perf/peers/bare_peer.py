"""uvicorn with a bare ASGI application before Slipway's own batcher, codec and engine: `bare_peer.py ONNX PORT`.

What another HTTP server would have cost: nothing of workloads/serve/http runs here, and nothing is routed or bounded.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

import uvicorn  # noqa: E402

from workloads.serve.command import SWITCH_INTERVAL  # noqa: E402
from workloads.serve.http.message import Request  # noqa: E402
from workloads.serve.loading import load_and_warm_up  # noqa: E402
from workloads.serve.rest.inference import Codec  # noqa: E402
from workloads.serve.service import Service  # noqa: E402
from workloads.serve.settings import Settings  # noqa: E402
from workloads.serve.telemetry.metrics import Metrics  # noqa: E402

settings = Settings(model=sys.argv[1], name="mlp", threads=1)
loaded = load_and_warm_up(settings)


class App:
    """Answers every POST as an inference."""

    def __init__(self) -> None:
        self.service = None

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        if self.service is None:
            self.service = Service(loaded, settings.batching, Metrics())
            self.codec = Codec(self.service.signature, "mlp", "1")
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        asked = self.codec.decode(Request(b"POST", b"/", dict(scope["headers"]), body))
        results = await self.service.batcher.answer(self.service.submit(asked))
        reply = self.codec.encode(asked, results)
        headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % sum(map(len, reply.body)))]
        for line in reply.headers.splitlines():
            name, _, value = line.partition(b": ")
            headers.append((name.lower(), value))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"".join(reply.body)})


if __name__ == "__main__":
    sys.setswitchinterval(SWITCH_INTERVAL)
    options = {"loop": "uvloop", "http": "httptools", "access_log": False, "log_level": "error", "lifespan": "off"}
    uvicorn.run(App(), host="127.0.0.1", port=int(sys.argv[2]), **options)
