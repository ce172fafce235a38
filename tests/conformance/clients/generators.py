"""Load generators: each sends the small and the large input many times. How many are answered with 200?"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.clients.programs import SECONDS

CONNECTIONS = 8
TYPE = "application/json"
# It prints, when the time is over, requests, and those without an answer or with another status than 2xx and 3xx.
WRK = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = io.open("{body}", "rb"):read("*a")
done = function(summary, latency, requests)
  local e = summary.errors
  print("requests " .. summary.requests .. " bad " .. e.connect + e.read + e.write + e.status + e.timeout)
end
"""


@dataclass(frozen=True)
class Counted:
    """Requests of one run of a load generator: sent, answered with 200, and connections kept alive."""

    sent: int
    right: int
    kept: int | None = None


@dataclass(frozen=True)
class Generator:
    """`command` of (url, body's file, requests) and what its output says."""

    name: str
    command: Callable[[str, Path, int], list[str]]
    read: Callable[[str, int], Counted]
    version: tuple[str, ...]

    @property
    def there(self) -> bool:
        """Tell whether the program is installed."""
        return shutil.which(self.name.split()[0]) is not None

    def version_line(self) -> str:
        """First line of what the program prints of its version."""
        done = subprocess.run(self.version, check=False, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().partition("\n")[0]

    def run(self, url: str, body: Path, requests: int) -> Counted:
        """AssertionError with its output where that cannot be read."""
        command = self.command(url, body, requests)
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
        said = done.stdout + done.stderr
        try:
            return self.read(said, requests)
        except (AttributeError, ValueError):
            raise AssertionError(f"{self.name} said: {said[-2000:]}") from None


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    assert found is not None, said
    return int(found[1])


def _ab(said: str, requests: int) -> Counted:
    done, failed = _number(r"Complete requests: +(\d+)", said), _number(r"Failed requests: +(\d+)", said)
    other = _number(r"Non-2xx responses: +(\d+)", said) if "Non-2xx" in said else 0
    return Counted(requests, done - failed - other, _number(r"Keep-Alive requests: +(\d+)", said))


def _h2load(said: str, requests: int) -> Counted:
    return Counted(requests, _number(r"status codes: (\d+) 2xx", said))


def _hey(said: str, requests: int) -> Counted:
    return Counted(requests, _number(r"\[200\]\s+(\d+) responses", said))


def _wrk(said: str, _requests: int) -> Counted:
    sent = _number(r"requests (\d+)", said)
    return Counted(sent, sent - _number(r"bad (\d+)", said))


def _siege(said: str, requests: int) -> Counted:
    return Counted(requests, _number(r'"successful_transactions":\s+(\d+)', said))


def _wrk_command(url: str, body: Path, _requests: int) -> list[str]:
    script = body.with_suffix(".lua")
    script.write_text(WRK.format(body=body))
    return ["wrk", "-t1", f"-c{CONNECTIONS}", "-d3s", "-s", str(script), url]


GENERATORS = [
    Generator(
        "ab -k",
        lambda url, body, n: ["ab", "-k", "-q", "-n", f"{n}", "-c", f"{CONNECTIONS}", "-T", TYPE, "-p", str(body), url],
        _ab,
        ("ab", "-V"),
    ),
    Generator(
        "h2load --h1",
        lambda url, body, n: [
            *("h2load", "--h1", "-n", f"{n}", "-c", f"{CONNECTIONS}"),
            *("-H", f"content-type: {TYPE}", "-d", str(body), url),
        ],
        _h2load,
        ("h2load", "--version"),
    ),
    Generator("wrk", _wrk_command, _wrk, ("wrk", "-v")),
    Generator(
        "hey",
        lambda url, body, n: [
            *("hey", "-n", f"{n}", "-c", f"{CONNECTIONS}"),
            *("-m", "POST", "-T", TYPE, "-D", str(body), url),
        ],
        _hey,
        ("dpkg-query", "-W", "hey"),
    ),
    Generator(
        "siege",
        lambda url, body, n: [
            *("siege", "-c", f"{CONNECTIONS}", "-r", f"{n // CONNECTIONS}", "-b", "--content-type", TYPE, "-j"),
            f"{url} POST <{body}",
        ],
        _siege,
        ("siege", "--version"),
    ),
]
