"""Asks with a library of Python's, perhaps in an environment of its own: `ask.py LIBRARY BASE MANIFEST ANSWERS`."""

import asyncio
import http.client
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit


def pieces(content):
    yield content[: len(content) // 2]
    yield content[len(content) // 2 :]


def sent(file, how):
    if not file:
        return None
    content = Path(file).read_bytes()
    return pieces(content) if how == "chunked" else content


def with_urllib(base):
    def ask(method, path, body, headers):
        request = urllib.request.Request(base + path, body, headers, method=method)
        try:
            with urllib.request.urlopen(request) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return ask


def with_http_client(base):
    connection = http.client.HTTPConnection(urlsplit(base).netloc)

    def ask(method, path, body, headers):
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()

    return ask


def with_requests(base):
    import requests

    session = requests.Session()

    def ask(method, path, body, headers):
        reply = session.request(method, base + path, data=body, headers=headers)
        return reply.status_code, reply.content

    return ask


def with_urllib3(base):
    import urllib3

    pool = urllib3.PoolManager()

    def ask(method, path, body, headers):
        reply = pool.request(method, base + path, body=body, headers=headers)
        return reply.status, reply.data

    return ask


def with_httpx(base):
    import httpx

    client = httpx.Client()

    def ask(method, path, body, headers):
        reply = client.request(method, base + path, content=body, headers=headers)
        return reply.status_code, reply.content

    return ask


def with_geventhttpclient(base):
    from geventhttpclient import HTTPClient

    client = HTTPClient.from_url(base)

    def ask(method, path, body, headers):
        reply = client.request(method, path, body=body or b"", headers=headers)
        return int(reply.status_code), bytes(reply.read())

    return ask


async def streamed(parts):
    for part in parts:
        yield part


def with_aiohttp(base):
    import aiohttp

    loop = asyncio.new_event_loop()
    session = loop.run_until_complete(opened(aiohttp))

    async def asked(method, path, body, headers):
        data = body if body is None or isinstance(body, bytes) else streamed(body)
        async with session.request(method, base + path, data=data, headers=headers) as reply:
            return reply.status, await reply.read()

    return lambda *told: loop.run_until_complete(asked(*told))


async def opened(aiohttp):
    return aiohttp.ClientSession()


def main(library, base, manifest, answers):
    ask = globals()[f"with_{library}"](base)
    for line in Path(manifest).read_text().splitlines():
        name, method, path, file, how, *told = line.split("\t")
        headers = dict(header.split(": ", 1) for header in told)
        status, body = ask(method, path, sent(file, how), headers)
        (Path(answers) / name).write_bytes(body)
        sys.stdout.write(f"{name}\t{status}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
