"""Requests as odd clients, proxies and hands write them: each with the status that it deserves, over a socket.

What one example of a fault was reported for, its brothers are tried here.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import zlib
from typing import NamedTuple

import pytest

from tests.conformance.server import Server

INFER = b"/v2/models/mlp/infer"
ROW = [0.5] * 8
TENSOR = {"name": "x", "shape": [1, 8], "datatype": "FP32", "data": ROW}
USUAL = json.dumps({"inputs": [TENSOR]}).encode()
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"


def post(body: bytes = USUAL, more: bytes = b"", path: bytes = INFER, version: bytes = b"1.1") -> bytes:
    """A whole request."""
    return b"POST %b HTTP/%b\r\nHost: h\r\n%bContent-Length: %d\r\n\r\n%b" % (path, version, more, len(body), body)


def chunked(*parts: bytes, more: bytes = b"", end: bytes = b"0\r\n\r\n", mark: bytes = b"%x") -> bytes:
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n%b\r\n" % (INFER, more)
    return head + b"".join(mark % len(part) + b"\r\n%b\r\n" % part for part in parts) + end


def get(path: bytes, more: bytes = b"", method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    return b"%b %b HTTP/%b\r\nHost: h\r\n%b\r\n" % (method, path, version, more)


def document(**rest: object) -> bytes:
    return json.dumps({"inputs": [TENSOR], **rest}).encode()


def tensor(**rest: object) -> bytes:
    return json.dumps({"inputs": [{**TENSOR, **rest}]}).encode()


def binary(size: int = 32, raw: bytes = struct.pack("<8f", *ROW), said: int = -1) -> tuple[bytes, bytes]:
    """A body with the tensor behind its JSON, and the header with the JSON's length."""
    head = json.dumps({"inputs": [{**TENSOR, "data": None, "parameters": {"binary_data_size": size}}]}).encode()
    return head + raw, b"Inference-Header-Content-Length: %d\r\n" % (len(head) if said < 0 else said)


BINARY, HEADER = binary()
HALF = len(USUAL) // 2


class Odd(NamedTuple):
    """What is sent, the statuses of the answers in order, and words of the last one."""

    sent: bytes
    statuses: tuple[int, ...]
    words: str = ""


OFFERS = {
    "h2c with a body": Odd(post(more=H2C), (200,)),
    "h2c with chunks": Odd(chunked(USUAL[:9], USUAL[9:], more=H2C), (200,)),
    "h2c with chunks and trailers": Odd(chunked(USUAL, more=H2C, end=b"0\r\nX-Sum: 1\r\n\r\n"), (200,)),
    "h2c that waits for leave": Odd(post(more=H2C + b"Expect: 100-continue\r\n"), (100, 200)),
    "h2c without a body, then a request": Odd(get(b"/v2", H2C) + post(), (200, 200)),
    "h2c twice": Odd(post(more=H2C) + post(more=H2C), (200, 200)),
    "h2c with close": Odd(post(more=H2C.replace(b"Upgrade, ", b"Upgrade, close, ")), (200,)),
    "a web socket": Odd(post(more=b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"), (200,)),
    "TLS within": Odd(post(more=b"Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"), (200,)),
    "an Upgrade header that is no offer": Odd(post(more=b"Upgrade: h2c\r\n"), (200,)),
    "an offer of nothing": Odd(post(more=b"Connection: Upgrade\r\n"), (200,)),
    "HTTP/2 at once": Odd(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400,), "HTTP/2"),
    "a tunnel": Odd(get(b"h:443", method=b"CONNECT"), (405,), "no proxy"),
}
FRAMES = {
    "no Host": Odd(post().replace(b"Host: h\r\n", b""), (400,), "Host"),
    "an empty Host": Odd(post().replace(b"Host: h", b"Host:"), (200,)),
    "two Hosts": Odd(post(more=b"Host: g\r\n"), (400,), "twice"),
    "the whole URL": Odd(post(path=b"http://other:80" + INFER), (200,)),
    "the whole URL in capitals": Odd(post(path=b"HTTP://other" + INFER), (200,)),
    "a query": Odd(post(path=INFER + b"?a=1&b"), (200,)),
    "a fragment": Odd(post(path=INFER + b"#a"), (404,)),
    "an escaped path": Odd(post(path=b"/v2/models/%6dlp/infer"), (200,)),
    "a path in UTF-8": Odd(get("/v2/models/\U0001f47d".encode()), (400,)),
    "a slash at the end": Odd(post(path=INFER + b"/"), (404,), "slash"),
    "an empty line before": Odd(b"\r\n" + post(), (200,)),
    "HTTP/1.0 without a Host": Odd(post(version=b"1.0").replace(b"Host: h\r\n", b""), (200,)),
    "HTTP/1.0 that stays": Odd(post(version=b"1.0", more=b"Connection: keep-alive\r\n") * 2, (200, 200)),
    "HTTP/1.0 with chunks": Odd(chunked(USUAL).replace(b"HTTP/1.1", b"HTTP/1.0"), (400,)),
    "HTTP/0.9": Odd(b"GET /v2\r\n\r\n", (400,)),
    "HTTP/1.2": Odd(get(b"/v2", version=b"1.2"), (400,)),
    "a method in small letters": Odd(get(b"/v2", method=b"get"), (400,)),
    "a method that nobody knows": Odd(get(b"/v2", method=b"FETCH"), (400,)),
    "PUT": Odd(get(b"/v2", method=b"PUT"), (405,)),
    "TRACE": Odd(get(b"/v2", method=b"TRACE"), (405,)),
    "bare line feeds": Odd(post().replace(b"\r\n", b"\n"), (400,)),
    "a folded header": Odd(post(more=b"X-A: 1\r\n 2\r\n"), (400,)),
    "a blank before the colon": Odd(post(more=b"X-A : 1\r\n"), (400,)),
    "a zero in a header": Odd(post(more=b"X-A: 1\x002\r\n"), (400,)),
    "Latin-1 in a header": Odd(post(more=b"X-A: \xe9\r\n"), (200,)),
    "a header without a value": Odd(post(more=b"X-A:\r\n"), (200,)),
    "a thousand headers": Odd(post(more=b"X: 1\r\n" * 1000), (200,)),
    "70 KB of headers": Odd(post(more=b"X-A: %b\r\n" % (b"a" * 70_000)), (431,)),
    "70 KB of URL": Odd(get(b"/" + b"a" * 70_000), (431,)),
    "a length with a plus": Odd(post().replace(b"Length: ", b"Length: +"), (400,)),
    "a length with blanks": Odd(post().replace(b"Length: ", b"Length:   "), (200,)),
    "a length in hex": Odd(post().replace(b"Length: ", b"Length: 0x"), (400,)),
    "two lengths, the same": Odd(post(more=b"Content-Length: %d\r\n" % len(USUAL)), (400,)),
    "a list of lengths": Odd(post().replace(b"Length: ", b"Length: 5, "), (400,)),
    "a length and chunks": Odd(chunked(USUAL, more=b"Content-Length: 5\r\n"), (400,)),
    "Chunked with a capital": Odd(chunked(USUAL).replace(b": chunked", b": Chunked"), (200,)),
    "gzip, chunked": Odd(chunked(USUAL).replace(b": chunked", b": gzip, chunked"), (501,), "Content-Encoding"),
    "chunked twice": Odd(chunked(USUAL).replace(b": chunked", b": chunked, chunked"), (400,)),
    "identity": Odd(post(more=b"Transfer-Encoding: identity\r\n"), (400,)),
    "a chunk's length in capitals": Odd(chunked(USUAL, mark=b"%X"), (200,)),
    "a chunk's length with zeros": Odd(chunked(USUAL, mark=b"000%x"), (200,)),
    "a chunk's length with 0x": Odd(chunked(USUAL, mark=b"0x%x"), (400,)),
    "a chunk's extension": Odd(chunked(USUAL, mark=b'%x;a="b"'), (200,)),
    "chunks of a byte": Odd(chunked(*(USUAL[i : i + 1] for i in range(len(USUAL)))), (200,)),
    "a length behind the chunks": Odd(chunked(USUAL, end=b"0\r\nContent-Length: 3\r\n\r\n"), (400,)),
    "close, then nonsense": Odd(post(more=b"Connection: close\r\n") + b"nonsense\r\n\r\n", (200,)),
    "Close with a capital, then a request": Odd(post(more=b"Connection: Close\r\n") + post(), (200,)),
    "twenty at once": Odd(post() * 20, (200,) * 20),
    "leave to send by HTTP/1.0": Odd(post(version=b"1.0", more=b"Expect: 100-continue\r\n"), (200,)),
    "another expectation": Odd(post(more=b"Expect: 200-ok\r\n"), (200,)),
    "no length, no chunks": Odd(get(INFER, method=b"POST"), (400,), "no body"),
    "an empty body": Odd(post(b""), (400,), "no body"),
    "any Accept": Odd(post(more=b"Accept: text/html\r\nAccept-Encoding: br\r\n"), (200,)),
    "a form": Odd(post(b"a=1", b"Content-Type: application/x-www-form-urlencoded\r\n"), (400,), "not JSON"),
    "text/plain with JSON": Odd(post(more=b"Content-Type: text/plain; charset=latin-1\r\n"), (200,)),
}
BODIES = {
    "br": Odd(post(more=b"Content-Encoding: br\r\n"), (415,), "gzip"),
    "zstd": Odd(post(more=b"Content-Encoding: zstd\r\n"), (415,), "gzip"),
    "gzip": Odd(post(gzip.compress(USUAL), b"Content-Encoding: gzip\r\n"), (200,)),
    "GZIP": Odd(post(gzip.compress(USUAL), b"Content-Encoding: GZIP\r\n"), (200,)),
    "gzip, identity": Odd(post(gzip.compress(USUAL), b"Content-Encoding: gzip, identity\r\n"), (200,)),
    "gzip in two members": Odd(
        post(gzip.compress(USUAL[:HALF]) + gzip.compress(USUAL[HALF:]), b"Content-Encoding: gzip\r\n"), (200,)
    ),
    "gzip with zeros behind": Odd(post(gzip.compress(USUAL) + bytes(512), b"Content-Encoding: gzip\r\n"), (200,)),
    "gzip cut short": Odd(post(gzip.compress(USUAL)[:-9], b"Content-Encoding: gzip\r\n"), (400,), "not whole"),
    "gzip with a wrong sum": Odd(
        post(gzip.compress(USUAL)[:-8] + bytes(8), b"Content-Encoding: gzip\r\n"), (400,), "gzip"
    ),
    "no gzip at all": Odd(post(more=b"Content-Encoding: gzip\r\n"), (400,), "gzip"),
    "gzip in chunks": Odd(chunked(gzip.compress(USUAL), more=b"Content-Encoding: gzip\r\n"), (200,)),
    "deflate with a frame": Odd(post(zlib.compress(USUAL), b"Content-Encoding: deflate\r\n"), (200,)),
    "deflate without": Odd(post(zlib.compress(USUAL, wbits=-15), b"Content-Encoding: deflate\r\n"), (200,)),
    "a byte order mark": Odd(post(b"\xef\xbb\xbf" + USUAL), (200,)),
    "UTF-16": Odd(post(USUAL.decode().encode("utf-16")), (400,), "UTF-16"),
    "JSON in JSON": Odd(post(json.dumps(USUAL.decode()).encode()), (400,), "object"),
    "a line's end behind": Odd(post(USUAL + b"\n"), (200,)),
    "single quotes": Odd(post(USUAL.replace(b'"', b"'")), (400,), "not JSON"),
    "a comment": Odd(post(b"// hello\n" + USUAL), (400,), "not JSON"),
    "NaN": Odd(post(USUAL.replace(b"0.5", b"NaN", 1)), (400,), "NaN"),
    "1e999": Odd(post(USUAL.replace(b"0.5", b"1e999", 1)), (400,), "not JSON"),
    "3.5e38": Odd(post(USUAL.replace(b"0.5", b"3.5e38", 1)), (400,), "out of range"),
    "half a surrogate": Odd(post(document().replace(b"}]}", b'}],"id":"\\ud800"}')), (400,)),
    "ten thousand brackets": Odd(post(b'{"inputs":' + b"[" * 10_000), (400,)),
    "binary": Odd(post(BINARY, HEADER), (200,)),
    "binary and gzip": Odd(post(gzip.compress(BINARY), HEADER + b"Content-Encoding: gzip\r\n"), (200,)),
    "binary in chunks": Odd(chunked(BINARY[:7], BINARY[7:], more=HEADER), (200,)),
    "binary alone": Odd(post(BINARY[-32:], b"Inference-Header-Content-Length: 0\r\n"), (200,)),
    "binary, too long": Odd(post(*binary(raw=bytes(36))), (400,), "36 bytes"),
    "binary, its size in text": Odd(post(BINARY.replace(b": 32", b': "32"'), HEADER), (400,)),
    "binary, a length beyond": Odd(post(*binary(said=10_000)), (400,), "10000"),
    "binary, a negative length": Odd(post(BINARY, b"Inference-Header-Content-Length: -1\r\n"), (400,), "whole"),
    "binary without the header": Odd(post(BINARY), (400,), "not JSON"),
}
TENSORS = {
    "a shape in words": Odd(post(tensor(shape="-1")), (400,), "shape"),
    "a shape of -1": Odd(post(tensor(shape=[-1, 8])), (400,), "shape"),
    "a shape with a fraction": Odd(post(tensor(shape=[1.0, 8])), (400,), "shape"),
    "no shape": Odd(post(tensor(shape=None)), (400,), "shape"),
    "a shape of no axes": Odd(post(tensor(shape=[])), (400,), "[]"),
    "a row without its axis": Odd(post(tensor(shape=[8])), (400,), "[8]"),
    "no rows": Odd(post(tensor(shape=[0, 8], data=[])), (400,), "row"),
    "too many rows": Odd(post(tensor(shape=[33, 8], data=[ROW] * 33)), (400,), "32"),
    "small letters": Odd(post(tensor(datatype="fp32")), (400,), "FP32"),
    "numpy's name": Odd(post(tensor(datatype="float32")), (400,), "FP32"),
    "base64": Odd(post(tensor(data="AAAAPw==")), (400,), "list"),
    "an object of base64": Odd(post(tensor(data=[{"b64": "AAAAPw=="}])), (400,)),
    "numbers in words": Odd(post(tensor(data=["0.5"] * 8)), (400,), "str"),
    "true": Odd(post(tensor(data=[True] * 8)), (400,), "bool"),
    "whole numbers": Odd(post(tensor(data=[1] * 8)), (200,)),
    "a row in a list": Odd(post(tensor(data=[ROW])), (200,)),
    "a column": Odd(post(tensor(data=[[0.5]] * 8)), (400,), "nested"),
    "data twice": Odd(post(USUAL.replace(b'"data":', b'"data": [1], "data":')), (200,)),
    "an input twice": Odd(post(json.dumps({"inputs": [TENSOR, TENSOR]}).encode()), (400,), "twice"),
    "inputs by name": Odd(post(json.dumps({"inputs": {"x": ROW}}).encode()), (400,), "list"),
    "instances": Odd(post(json.dumps({"instances": [ROW]}).encode()), (400,), "V1"),
    "a CloudEvent": Odd(post(json.dumps({"specversion": "1.0", "data": {}}).encode()), (400,), "CloudEvent"),
    "null for what is not set": Odd(post(document(id=None, parameters=None, outputs=None)), (200,)),
    "parameters that others know": Odd(post(document(parameters={"content_type": "np", "request_id": 7})), (200,)),
    "a parameter that is an object": Odd(post(document(parameters={"headers": {}})), (400,), "parameters"),
    "an id that is a number": Odd(post(document(id=7)), (400,), "id"),
    "outputs by name": Odd(post(document(outputs=["y"])), (400,), "object"),
    "an output that is not there": Odd(post(document(outputs=[{"name": "z"}])), (400,), "'y'"),
    "classification": Odd(
        post(document(outputs=[{"name": "y", "parameters": {"classification": 2}}])), (400,), "classification"
    ),
    "shared memory": Odd(
        post(document(outputs=[{"name": "y", "parameters": {"shared_memory_region": "r"}}])), (400,), "memory"
    ),
    "a sequence": Odd(post(document(parameters={"sequence_id": 1})), (400,), "stateful"),
}
PATHS = {
    "version 1": Odd(post(path=b"/v2/models/mlp/versions/1/infer"), (200,)),
    "version 1.0.0": Odd(post(path=b"/v2/models/mlp/versions/1.0.0/infer"), (404,), "version"),
    "another model": Odd(post(path=b"/v2/models/bert/infer"), (404,), "'mlp'"),
    "the V1 protocol": Odd(post(path=b"/v1/models/mlp:predict"), (404,), "/v2/models/mlp/infer"),
    "TorchServe's": Odd(post(path=b"/predictions/mlp"), (404,), "/v2/models/mlp/infer"),
    "SageMaker's and MLflow's": Odd(post(path=b"/invocations"), (404,), "/v2/models/mlp/infer"),
    "the repository": Odd(post(b"{}", path=b"/v2/repository/index"), (404,)),
    "shared memory's": Odd(get(b"/v2/systemsharedmemory/status"), (404,)),
    "two slashes": Odd(post(path=b"/" + INFER), (404,)),
    "dots": Odd(get(b"/v2/../v2"), (404,)),
}
GROUPS = {"offers": OFFERS, "frames": FRAMES, "bodies": BODIES, "tensors": TENSORS, "paths": PATHS}


def answers(server: Server, sent: bytes) -> list[tuple[int, bytes]]:
    """Statuses and bodies of all answers, until the server has nothing more to say."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    found = []
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        lengths = [int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        size = lengths[0] if lengths else 0
        found.append((status, received[:size]))
        received = received[size:]
    return found


def wrong(server: Server, odd: Odd) -> str:
    """What is wrong with the answers; nothing for the right ones."""
    found = answers(server, odd.sent)
    if tuple(status for status, _ in found) != odd.statuses:
        return f"{found}, not {odd.statuses}"
    status, body = found[-1]
    said = json.loads(body)["error"] if status >= 400 else ""
    return "" if odd.words in said else f"{said!r} does not say {odd.words!r}"


@pytest.mark.parametrize("group", GROUPS)
def test_odd_requests_have_the_answers_that_they_deserve(serve, group: str) -> None:
    server = serve("mlp")
    assert {name: words for name, odd in GROUPS[group].items() if (words := wrong(server, odd))} == {}
    assert [status for status, _ in answers(server, post())] == [200]
