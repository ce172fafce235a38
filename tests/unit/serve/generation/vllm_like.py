"""Program that takes vLLM's arguments and speaks as its server does, for tests without vLLM: counts instead of a model.

Its answer to a prompt is the prompt's last token plus one, two, three, ... with -1 for each log-probability. Token 13
kills it, 14 is refused.
"""

from __future__ import annotations

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ARGUMENTS = sys.argv[1:]
METRICS = (
    'vllm:cache_config_info{block_size="16",num_gpu_blocks="64"} 1.0\n'
    'vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25\nvllm:num_requests_running{engine="0"} 3.0\n'
)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass

    def _say(self, status: int, body: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self) -> None:
        pages = {"/health": "", "/version": '{"version":"0.99"}', "/metrics": METRICS, "/args": json.dumps(ARGUMENTS)}
        self._say(200, pages[self.path])

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = asked["prompt"][-1]
        if last == 13:
            os._exit(9)
        if last == 14:
            self._say(400, '{"error": {"message": "no fourteen", "code": 400}}')
            return
        self.send_response(200)
        self.end_headers()
        try:
            for number in range(asked["max_tokens"]):
                finish = "length" if number == asked["max_tokens"] - 1 else None
                step = 2 if asked["model"] == "second" else 1
                choice = {"index": 0, "text": "?", "token_ids": [last + step * (number + 1)], "finish_reason": finish}
                choice["logprobs"] = {"token_logprobs": [-1.0]}
                if asked["echo"] and not number:  # as vLLM does: the prompt and the first token in one event
                    choice["token_ids"] = [*asked["prompt"], *choice["token_ids"]]
                    choice["logprobs"]["token_logprobs"] = [None, *[-2.0] * (len(asked["prompt"]) - 1), -1.0]
                self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
                time.sleep(0.005)
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            with open(os.environ["GONE"], "a") as sink:  # noqa: PTH123
                sink.write("gone\n")


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(ARGUMENTS[ARGUMENTS.index("--port") + 1])), Handler).serve_forever()
