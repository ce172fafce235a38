"""A minimal load generator: as little between it and the API server as Python allows. Used by the measurements."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.cluster.rest import Client

Object = dict[str, Any]
JOBS = "/apis/slipway.dev/v1alpha1/namespaces/{}/trainingjobs"
PODS = "/api/v1/namespaces/{}/pods"
BATCH = "/apis/batch/v1/namespaces/{}/jobs"


class Load:
    """One session to one API server."""

    def __init__(self, kubeconfig: Path, user_agent: str) -> None:
        self._client = Client(kubeconfig)
        self._agent = user_agent

    async def __aenter__(self) -> Self:
        base = f"{self._client.server.scheme}://{self._client.server.netloc}"
        connector = aiohttp.TCPConnector(ssl=self._client.tls, limit=128)
        timeout = aiohttp.ClientTimeout(total=600)
        headers = {"User-Agent": self._agent, "Content-Type": "application/json", "Accept": "application/json"}
        self._session = aiohttp.ClientSession(base, connector=connector, headers=headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def create(self, path: str, body: bytes) -> Object:
        """One POST; raises on any refusal."""
        async with self._session.post(path, data=body) as answer:
            made: Object = json.loads(await answer.read())
            answer.raise_for_status()
            return made

    async def patch(self, path: str, body: bytes) -> None:
        """One merge patch; raises on any refusal."""
        headers = {"Content-Type": "application/merge-patch+json"}
        async with self._session.patch(path, data=body, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()

    async def create_all(self, path: str, bodies: Sequence[bytes], concurrency: int) -> float:
        """Create them with so many requests at once; returns seconds."""
        todo = iter(bodies)
        started = time.perf_counter()

        async def work() -> None:
            for body in todo:
                await self.create(path, body)

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return time.perf_counter() - started

    async def namespace(self, name: str) -> None:
        """A namespace whose default service account is there, and before 1.24 has a token: else no pod is let in."""
        await self.create("/api/v1/namespaces", encode({"metadata": {"name": name}}))
        version = self._client.get("/version")
        needs_token = (int(version["major"]), int(version["minor"].rstrip("+"))) < (1, 24)
        async for event in self.watch(f"/api/v1/namespaces/{name}/serviceaccounts"):
            account = event["object"]
            if account["metadata"]["name"] == "default" and (account.get("secrets") or not needs_token):
                return

    async def watch(self, path: str) -> AsyncIterator[Object]:
        """All objects of a collection, then its events."""
        async with self._session.get(path, params={"watch": "1"}) as answer:
            answer.raise_for_status()
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)


class Arrivals:
    """Counts a collection's objects by their owner as they appear, on this machine's own clock."""

    def __init__(self, load: Load, path: str) -> None:
        self._load = load
        self._path = path
        self.seen: dict[str, list[float]] = {}
        self.count = 0
        self._more = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        async for event in self._load.watch(self._path):
            if event["type"] == "ADDED":
                owner = (event["object"]["metadata"].get("ownerReferences") or [{}])[0].get("name", "")
                self.seen.setdefault(owner, []).append(time.perf_counter())
                self.count += 1
                self._more.set()

    async def reach(self, count: int, seconds: float = 300) -> float:
        """Wait for so many objects; returns the moment of the last one."""
        async with asyncio.timeout(seconds):
            while self.count < count:
                self._more.clear()
                await self._more.wait()
        return time.perf_counter()


def encode(body: Object) -> bytes:
    return json.dumps(body).encode()


def training_jobs(names: Iterable[str], nodes: int = 4) -> list[bytes]:
    """TrainingJobs with a program of their own."""
    spec = {"numNodes": nodes, "trainer": {"image": "x", "command": ["train"]}}
    kind = {"apiVersion": "slipway.dev/v1alpha1", "kind": "TrainingJob"}
    return [encode({**kind, "metadata": {"name": name}, "spec": spec}) for name in names]


def batch_jobs(names: Iterable[str], pods: int = 4) -> list[bytes]:
    """Kubernetes' own Jobs of the same shape."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "trainer", "image": "x"}]}}
    spec = {"parallelism": pods, "completions": pods, "template": template}
    kind = {"apiVersion": "batch/v1", "kind": "Job"}
    return [encode({**kind, "metadata": {"name": name}, "spec": spec}) for name in names]
