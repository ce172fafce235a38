"""The page at /: a chat with the model and its tokens per second, one file that loads nothing from anywhere else."""

from functools import cache
from pathlib import Path

from workloads.serve.http import Reply, Request
from workloads.serve.web.page import POLICY


@cache
def _content() -> bytes:
    return Path(__file__).with_name("chat.html").read_bytes()


def page(_request: Request) -> Reply:
    """HTML of the page."""
    return Reply(200, (_content(),), b"text/html; charset=utf-8", POLICY)
