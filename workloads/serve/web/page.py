"""The page at /: one file, read once, that loads nothing from anywhere else."""

from functools import cache
from pathlib import Path

from workloads.serve.http import Reply, Request

# The page's own script and style, its own server, pictures that the visitor has chosen: nothing else.
POLICY = (
    b"Content-Security-Policy: default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    b"connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    b"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCache-Control: no-cache\r\n"
)


@cache
def _content() -> bytes:
    return Path(__file__).with_name("page.html").read_bytes()


def page(_request: Request) -> Reply:
    """HTML of the page."""
    return Reply(200, (_content(),), b"text/html; charset=utf-8", POLICY)
