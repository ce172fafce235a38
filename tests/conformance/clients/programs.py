"""Programs that send the manifest's requests, and how each is called. Those that are not installed are not tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.clients.inputs import Inputs

SOURCES = Path(__file__).parent / "sources"
JARS = Path("/usr/share/java")
# One with libraries that cannot live beside ours: requests, httpx, geventhttpclient, tritonclient[all], kserve.
LIBRARIES = os.environ.get("CLIENTS_PYTHON", sys.executable)
SECONDS = 120


@dataclass(frozen=True)
class Program:
    """`command` gets BASE MANIFEST ANSWERS; `version` prints one; `needs` are files or programs."""

    name: str
    command: tuple[str, ...]
    version: tuple[str, ...]
    needs: tuple[str, ...] = ()
    speaks: str = "keep-alive"
    # Inputs that it has no way to send.
    without: tuple[str, ...] = ()
    # Of Python's, which may not be there.
    library: str = ""

    @property
    def there(self) -> bool:
        """Tell whether the program, and all that it needs, is installed."""
        return all(shutil.which(one) or Path(one).exists() for one in (self.command[0], *self.needs)) and (
            self.library == "" or _imports(self.library)
        )

    def version_line(self) -> str:
        """First line of what the program prints of its version."""
        done = subprocess.run(self.version, check=False, capture_output=True, text=True, timeout=SECONDS)
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return lines[0].strip() if lines else ""

    def results(self, base: str, inputs: Inputs) -> dict[str, str]:
        """By input: nothing where its answer is right, else what is wrong."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            answers = folder / "answers"
            answers.mkdir()
            command = [*self.command, base, str(inputs.write(folder)), str(answers)]
            try:
                done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS, cwd=name)
            except subprocess.TimeoutExpired:
                return {one.name: "no answer in time" for one in inputs.all}
            found = inputs.judge(done.stdout, answers)
        if done.returncode and not any(found.values()):
            found["exit"] = done.stderr[-500:]
        return {name: fault for name, fault in found.items() if name not in self.without}


def _imports(library: str) -> bool:
    return subprocess.run([LIBRARIES, "-c", f"import {library}"], check=False, capture_output=True).returncode == 0


def _python(library: str) -> Program:
    said = f"import importlib.metadata as m; print(m.version('{library}'))"
    command = (LIBRARIES, str(SOURCES / "ask.py"), library)
    return Program(f"Python {library}", command, (LIBRARIES, "-c", said), library=library)


def _java(name: str, speaks: str, *arguments: str, jars: tuple[str, ...] = ()) -> Program:
    paths = tuple(str(JARS / f"{jar}.jar") for jar in jars)
    path = ("-cp", ":".join(paths)) if jars else ()
    source, *rest = arguments
    command = ("java", *path, str(SOURCES / source), *rest)
    version = ("dpkg-query", "-W", f"lib{jars[0]}-java") if jars else ("java", "-version")
    return Program(name, command, version, paths, speaks)


def _curl(name: str, speaks: str, *options: str, without: tuple[str, ...] = ()) -> Program:
    command = (sys.executable, str(SOURCES / "curl.py"), *options, "--")
    return Program(name, command, ("curl", "--version"), ("curl",), speaks, without)


APACHE = ("httpclient5", "httpcore5", "httpcore5-h2", "slf4j-api")
PLAIN = (sys.executable, "-c", "import platform; print(platform.python_version())")
PROGRAMS = [
    _java("Java HttpClient", "offers h2c with every first request", "Ask.java", "http2"),
    _java("Java HttpClient, HTTP/1.1", "keep-alive", "Ask.java", "http1"),
    _java("Java HttpURLConnection (Spring's default)", "keep-alive", "Ask.java", "connection"),
    _java("Apache HttpClient 5", "offers h2c, keep-alive", "AskApache.java", jars=APACHE),
    _java("OkHttp", "keep-alive", "AskOk.java", jars=("okhttp", "okio")),
    _curl("curl", "keep-alive"),
    _curl("curl --http2", "offers h2c", "--http2"),
    _curl("curl --http1.0", "HTTP/1.0", "--http1.0", without=("chunked",)),
    _curl("curl, Expect: 100-continue", "waits for 100", "-H", "Expect: 100-continue"),
    Program("node fetch (undici)", ("node", str(SOURCES / "ask.mjs"), "fetch"), ("node", "--version")),
    Program("node http", ("node", str(SOURCES / "ask.mjs"), "http"), ("node", "--version")),
    Program("Go net/http", ("go", "run", str(SOURCES / "ask.go")), ("go", "version")),
    Program("Ruby Net::HTTP", ("ruby", str(SOURCES / "ask.rb")), ("ruby", "--version")),
    Program("PHP curl", ("php", str(SOURCES / "ask.php")), ("php", "--version")),
    Program(
        "Perl LWP",
        ("perl", str(SOURCES / "ask.pl")),
        ("perl", "-MLWP", "-e", "print $LWP::VERSION"),
        ("/usr/share/perl5/LWP.pm",),
    ),
    Program("Python http.client", (sys.executable, str(SOURCES / "ask.py"), "http_client"), PLAIN),
    Program("Python urllib", (sys.executable, str(SOURCES / "ask.py"), "urllib"), PLAIN, speaks="a connection each"),
    *(_python(library) for library in ("requests", "urllib3", "httpx", "aiohttp", "geventhttpclient")),
]
# Asked for, and not to be had for Debian 12 and PyPI without a registry of another language.
ABSENT = (".NET HttpClient", "Rust reqwest", "perf_analyzer's own program (its requests are replayed below)", "grpcurl")
