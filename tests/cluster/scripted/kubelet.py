"""A scripted kubelet and scheduler: pods of a bare ControlPlane live and die as a test wants, on made-up nodes.

    async with ScriptedKubelet(plane.kubeconfig, nodes={"node-0": {"nvidia.com/gpu": "4"}}) as kubelet:
        kubelet.script = lambda pod: Script(runs_for=None)           # or by the pod's annotation, the default
        await kubelet.finish("ns", "pod", Exit(code=1))              # ends a running pod
        await kubelet.lose_node("node-0"); await kubelet.return_node("node-0")

A pod costs three writes: binding, Running, end. Containers are never restarted: scripts are for restartPolicy Never.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.cluster.rest import Client
from tests.cluster.scripted import script as scripts
from tests.cluster.scripted.script import Exit, Object, Script

_log = logging.getLogger(__name__)
_MERGE = {"Content-Type": "application/merge-patch+json"}
_WRITES_AT_ONCE = 32
NODES: Mapping[str, Mapping[str, str]] = {
    f"node-{i}": {"cpu": "64", "memory": "256Gi", "pods": "2000", "nvidia.com/gpu": "4"} for i in range(2)
}


class _Pod:
    """One pod as the kubelet knows it."""

    def __init__(self, body: Object, script: Script) -> None:
        self.body = body
        self.script = script
        self.node = ""
        self.started = ""
        self.finish: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.running = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.stopping = False

    @property
    def frozen(self) -> bool:
        """Whether its node fell silent before its life was over."""
        return self.task is not None and self.task.cancelled()

    @property
    def path(self) -> str:
        meta = self.body["metadata"]
        return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


_Life = Callable[[_Pod], Coroutine[Any, Any, None]]


class ScriptedKubelet:
    """Plays all nodes of a cluster. `script` is asked once per pod, when the pod appears; it may be replaced."""

    def __init__(
        self,
        kubeconfig: Path,
        nodes: Mapping[str, Mapping[str, str]] = NODES,
        script: Callable[[Object], Script] = scripts.from_annotation,
    ) -> None:
        self.script = script
        self._client = Client(kubeconfig)
        self._nodes = {name: dict(resources) for name, resources in nodes.items()}
        self._lost: set[str] = set()
        self._pods: dict[str, _Pod] = {}
        self._addresses = 0
        self._freed = asyncio.Event()
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._watcher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._client.tls, limit=_WRITES_AT_ONCE + 4)
        headers = {**self._client.headers("application/json"), "User-Agent": "scripted-kubelet"}
        base = f"{self._client.server.scheme}://{self._client.server.netloc}"
        self._session = aiohttp.ClientSession(base, connector=connector, headers=headers)
        for name in self._nodes:
            await self._put_node(name, ready=True)
        self._watcher = asyncio.create_task(self._watch_forever())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = [t for t in (self._watcher, *(p.task for p in self._pods.values())) if t]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._session.close()

    async def running(self, namespace: str, name: str) -> None:
        """Wait until a pod of this name runs here."""
        await (await self._find(namespace, name)).running.wait()

    async def finish(self, namespace: str, name: str, how: Exit | None = None) -> None:
        """End a pod's containers now, as `how` says: by default well. Waits until the pod runs."""
        pod = await self._find(namespace, name)
        await pod.running.wait()
        if not pod.finish.done():
            pod.finish.set_result(how or Exit())

    async def lose_node(self, name: str) -> None:
        """Let a node fall silent: Ready=Unknown and tainted, its pods frozen, their deletions never completed."""
        self._lost.add(name)
        for pod in self._pods.values():
            if pod.node == name and pod.task:
                pod.task.cancel()
        await self._put_node(name, ready=False)

    async def return_node(self, name: str) -> None:
        """Bring a lost node back: as after a reboot its pods have failed, and asked-for deletions are completed."""
        # Taken before the node is ready: pods that are bound to it from then on have not been through the reboot.
        before = [p for p in self._pods.values() if p.node == name and (p.stopping or p.frozen)]
        self._lost.discard(name)
        await self._put_node(name, ready=True)
        for pod in before:
            rebooted = partial(self._end, how=Exit(code=255, reason="Unknown"))
            self._run(pod, self._terminate if pod.stopping else rebooted)

    async def _find(self, namespace: str, name: str) -> _Pod:
        wanted = f"/api/v1/namespaces/{namespace}/pods/{name}"
        while True:
            for pod in self._pods.values():
                if pod.path == wanted:
                    return pod
            await asyncio.sleep(0.01)

    async def _watch_forever(self) -> None:
        while True:
            try:
                async for kind, body in self._events():
                    self._seen(kind, body)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _log.info("the pod watch broke off, listing anew: %s", error)
                await asyncio.sleep(0.1)

    async def _events(self) -> AsyncIterator[tuple[str, Object]]:
        listed = await self._send("GET", "/api/v1/pods")
        present = {item["metadata"]["uid"] for item in listed["items"]}
        for pod in [p for uid, p in self._pods.items() if uid not in present]:
            yield "DELETED", pod.body
        for item in listed["items"]:
            yield "ADDED", item
        query = {"watch": "1", "resourceVersion": listed["metadata"]["resourceVersion"]}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.get("/api/v1/pods", params=query, timeout=timeout) as answer:
            answer.raise_for_status()
            buffer = b""
            async for chunk in answer.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for event in map(json.loads, lines):
                    if event["type"] == "ERROR":
                        return
                    yield event["type"], event["object"]

    def _seen(self, kind: str, body: Object) -> None:
        uid = body["metadata"]["uid"]
        if kind == "DELETED":
            gone = self._pods.pop(uid, None)
            if gone and gone.task:
                gone.task.cancel()
            self._free()
            return
        pod = self._pods.get(uid)
        if pod is None:
            if body["status"].get("phase") in {"Succeeded", "Failed"} and "deletionTimestamp" not in body["metadata"]:
                return
            pod = self._pods[uid] = _Pod(body, self.script(body))
            pod.node = body["spec"].get("nodeName", "")
            self._run(pod, self._live)
        pod.body = body
        if "deletionTimestamp" in body["metadata"] and not pod.stopping:
            pod.stopping = True
            if pod.node not in self._lost:
                self._run(pod, self._terminate)

    def _run(self, pod: _Pod, life: _Life) -> None:
        if pod.task:
            pod.task.cancel()
        pod.task = asyncio.create_task(self._quietly(pod, life))

    async def _quietly(self, pod: _Pod, life: _Life) -> None:
        try:
            await life(pod)
        except aiohttp.ClientResponseError as error:
            if error.status not in {404, 409}:  # deleted meanwhile, or a new pod of this name
                _log.exception("the scripted kubelet gave up on %s", pod.path)

    async def _live(self, pod: _Pod) -> None:
        script = pod.script
        if script.unschedulable:
            await self._report(pod, scripts.unschedulable(script.unschedulable, _now()))
            return
        if not pod.node:
            await self._bind(pod)
        await asyncio.sleep(script.starts_after)
        if script.waiting:
            await self._report(pod, scripts.waiting(pod.body, script.waiting, script.waiting_message, _now()))
            return
        pod.started = _now()
        self._addresses += 1
        address = script.address or f"10.244.{self._addresses // 250 % 250}.{self._addresses % 250 + 1}"
        if script.crashes:
            await self._report(pod, scripts.crashing(pod.body, script.crashes, address, _now()))
            return
        await self._report(pod, scripts.running(pod.body, address, "192.0.2.10", pod.started))
        pod.running.set()
        how = script.exit
        with contextlib.suppress(TimeoutError):
            how = await asyncio.wait_for(asyncio.shield(pod.finish), script.runs_for)
        await self._end(pod, how)

    async def _bind(self, pod: _Pod) -> None:
        told = False
        while not (node := self._room_for(pod)):
            # Taken at the look: what is freed while we tell that there is no room must not be missed.
            freed = self._freed
            if not told:
                wants = " and ".join(scripts.extended_requests(pod.body)) or "a ready node"
                message = f"0/{len(self._nodes)} nodes are available: {len(self._nodes)} Insufficient {wants}."
                await self._report(pod, scripts.unschedulable(message, _now()))
                told = True
            await freed.wait()
        pod.node = node
        meta = pod.body["metadata"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": target}
        await self._send("POST", f"{pod.path}/binding", json=body)

    def _room_for(self, pod: _Pod) -> str:
        wants = scripts.extended_requests(pod.body)
        fitting = []
        for name, resources in self._nodes.items():
            here = [p for p in self._pods.values() if p.node == name and not p.finish.done()]
            used = [scripts.extended_requests(p.body) for p in here] if wants else []
            free = {key: int(resources.get(key, 0)) - sum(u.get(key, 0) for u in used) for key in wants}
            right = pod.script.node in {"", name} and name not in self._lost
            if right and all(free[key] >= amount for key, amount in wants.items()):
                fitting.append((len(here), name))
        return min(fitting)[1] if fitting else ""

    async def _end(self, pod: _Pod, how: Exit) -> None:
        if not pod.finish.done():
            pod.finish.set_result(how)
        await self._report(pod, scripts.ended(pod.body, how, pod.started or _now(), _now()))
        self._free()

    def _free(self) -> None:
        """Wake all who wait for room, whether or not they have begun to wait."""
        self._freed.set()
        self._freed = asyncio.Event()

    async def _terminate(self, pod: _Pod) -> None:
        await asyncio.sleep(pod.script.stops_after)
        precondition = {"uid": pod.body["metadata"]["uid"]}
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "preconditions": precondition}
        await self._send("DELETE", pod.path, json=body)

    async def _report(self, pod: _Pod, status: Object) -> None:
        await self._send("PATCH", f"{pod.path}/status", json={"status": status}, headers=_MERGE)

    async def _put_node(self, name: str, *, ready: bool) -> None:
        body, status = scripts.node(name, self._nodes[name], _now(), ready=ready)
        with contextlib.suppress(aiohttp.ClientResponseError):  # it exists already
            await self._send("POST", "/api/v1/nodes", json=body)
        # Admission taints every new node as not ready; nobody else takes that away here.
        await self._send("PATCH", f"/api/v1/nodes/{name}", json={"spec": body["spec"]}, headers=_MERGE)
        await self._send("PATCH", f"/api/v1/nodes/{name}/status", json={"status": status}, headers=_MERGE)
        self._free()

    async def _send(self, method: str, path: str, **request: Any) -> Object:
        async with self._writes, self._session.request(method, path, **request) as answer:
            answer.raise_for_status()
            body: Object = await answer.json()
            return body


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
