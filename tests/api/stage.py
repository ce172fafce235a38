"""What the tests of the operator play on: a control plane, our CRDs, and nodes that follow scripts.

Tests are plain functions; the scripted kubelet lives in a thread of its own. Everything is awaited by watching it.
"""

from __future__ import annotations

import asyncio
import copy
import os
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

import pytest

from tests.api.crds import install_crds
from tests.api.traces import Traces
from tests.api.watching import until_gone, watch
from tests.cluster.local.control_plane import ControlPlane
from tests.cluster.rest import ApiError
from tests.cluster.scripted.kubelet import ScriptedKubelet
from tests.cluster.scripted.script import Exit, Script

Object = dict[str, Any]
T = TypeVar("T")
JOBS = "/apis/slipway.dev/v1alpha1/namespaces/{}/trainingjobs"
PODS = "/api/v1/namespaces/{}/pods"
NODES = {f"node-{i}": {"cpu": "64", "memory": "256Gi", "pods": "5000", "nvidia.com/gpu": "4"} for i in range(3)}
# The minor version of Kubernetes.
CEL_SINCE = 25
# Limits of the tests are meant for a machine of their own; on a busy one everything takes its time.
# So is one that pytest-xdist shares out, from its first minute on.
_SHARED = 2.5 if "PYTEST_XDIST_WORKER" in os.environ else 1.0
PATIENCE = max(_SHARED, min(6.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


class Stage:
    """The cluster, with words for what the tests do to it.

    `live`: those of this process. `traces`: what files of tests must leave as they found it.
    """

    live: ClassVar[list[Stage]] = []

    def __init__(self, folder: Path) -> None:
        self.plane = ControlPlane(folder, audit=True, controller_manager=None)
        self.scripts: dict[str, Callable[[Object], Script]] = {}
        self._namespaces: set[str] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.plane.start()
        install_crds(self.plane.client)
        # The garbage collector learns of new kinds every 30 s only; started after them, it knows them at once.
        self.plane.controller_manager = ()
        self.plane.start()
        self._thread.start()
        self.kubelet = ScriptedKubelet(self.plane.kubeconfig, nodes=NODES, script=self._script)
        self._run(self.kubelet.__aenter__())
        self.traces = Traces(self.plane.client)
        self.live.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.remove(self)
        self._run(self.kubelet.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self.plane.stop()

    def _script(self, pod: Object) -> Script:
        job = pod["metadata"].get("labels", {}).get("slipway.dev/job-name", "")
        return self.scripts.get(job, lambda _: Script(runs_for=None))(pod)

    def _run(self, coroutine: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    def without_cel(self) -> None:
        """Skips a test of what the operator says to a spec that a server of today refuses itself."""
        if self.plane.release.minor >= CEL_SINCE:
            pytest.skip("this server refuses it itself: tests/api/modern")

    # Nodes and pods.

    def namespace(self, name: str, **labels: str) -> str:
        self.plane.client.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        self._namespaces.add(name)
        return name

    def left_behind(self) -> list[str]:
        """What is there, or is not, since this was last asked, apart from the namespaces made here."""
        return self.traces.left(self._namespaces)

    def finish(self, namespace: str, pod: str, how: Exit | None = None) -> None:
        """End a pod's containers, once it runs."""
        self._run(self.kubelet.finish(namespace, pod, how))

    def lose_node(self, node: str) -> None:
        self._run(self.kubelet.lose_node(node))

    def return_node(self, node: str) -> None:
        self._run(self.kubelet.return_node(node))

    # Jobs.

    def create(self, namespace: str, name: str, **spec: Any) -> Object:
        """A job of one node with a program of its own, changed by `spec`."""
        body = {
            "apiVersion": "slipway.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {"trainer": {"image": "x", "command": ["train"]}, **spec},
        }
        return self.plane.client.call("POST", JOBS.format(namespace), body)

    def edit(self, namespace: str, name: str, **spec: Any) -> Object:
        return self.plane.client.patch(f"{JOBS.format(namespace)}/{name}", {"spec": spec})

    def delete(self, collection: str, name: str, **options: Any) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", **options}
        self.plane.client.call("DELETE", f"{collection}/{name}", body)

    def job(self, namespace: str, name: str) -> Object:
        return self.plane.client.get(f"{JOBS.format(namespace)}/{name}")

    def exists(self, path: str) -> bool:
        try:
            self.plane.client.get(path)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    def until_job(self, namespace: str, name: str, holds: Callable[[Object], Any], seconds: float = 20) -> Object:
        """Wait until the job's status satisfies `holds`; returns the job."""
        return self.until_object(JOBS.format(namespace), name, lambda o: holds(o.get("status") or {}), seconds)

    def until_condition(
        self, namespace: str, name: str, kind: str, status: str = "True", reason: str = "", seconds: float = 20
    ) -> Object:
        """Wait for one condition; returns the job's status."""
        holds = partial(marked, kind=kind, value=status, reason=reason)
        return self.until_status(JOBS.format(namespace), name, holds, seconds)

    def until_pods(
        self, namespace: str, name: str, holds: Callable[[dict[str, Object]], Any], seconds: float = 20
    ) -> dict[str, Object]:
        """Wait until the pods of the job, by name, satisfy `holds`."""
        return watch(
            self.plane.client,
            PODS.format(namespace),
            holds,
            selector=f"slipway.dev/job-name={name}",
            seconds=seconds * PATIENCE,
        )

    def until_running(self, namespace: str, name: str, attempt: int = 0) -> Object:
        """Wait until all pods of an attempt run, and the status says so."""
        return self.until_job(
            namespace, name, lambda s: s.get("runningTime") and s.get("attempt", 0) == attempt and marked(s, "Running")
        )

    def until_object(self, collection: str, name: str, holds: Callable[[Object], Any], seconds: float = 20) -> Object:
        """Wait until an object of any kind is there and satisfies `holds`; returns it."""
        client, limit = self.plane.client, seconds * PATIENCE
        seen = watch(client, collection, lambda all_: name in all_ and holds(all_[name]), name=name, seconds=limit)
        return seen[name]

    def until_status(self, collection: str, name: str, holds: Callable[[Object], Any], seconds: float = 20) -> Object:
        """The same for what its status, {} if it has none, must satisfy; returns the status."""
        found = self.until_object(collection, name, lambda o: holds(o.get("status") or {}), seconds)
        return found.get("status") or {}

    def remove(self, *paths: str, seconds: float = 60) -> None:
        """Delete what is at these paths, if anything is, and wait until nothing is."""
        there = [path for path in paths if self.exists(path)]
        for path in there:
            self.delete(*path.rsplit("/", 1))
        for path in there:
            self.until_gone(*path.rsplit("/", 1), seconds=seconds)

    def until_gone(self, collection: str, name: str, seconds: float = 20) -> None:
        until_gone(self.plane.client, collection, name, seconds * PATIENCE)

    # What the operator asked the server for.

    def requests(self, containing: str = "") -> list[Object]:
        """The operator's requests whose path contains this, oldest first."""
        return [e for e in self.plane.audit_events("slipway-operator") if containing in e["requestURI"]]

    def writes(self, namespace: str) -> list[Object]:
        """The operator's requests in a namespace that change something, also those that were refused."""
        found = self.requests(f"/namespaces/{namespace}/")
        return [copy.deepcopy(e) for e in found if e["verb"] not in {"get", "list", "watch"}]


def condition(status: Object, kind: str) -> Object | None:
    """One condition of a status."""
    return next((c for c in status.get("conditions") or [] if c["type"] == kind), None)


def marked(status: Object, kind: str, value: str = "True", reason: str = "") -> bool:
    """Whether a condition is so, for this reason if one is given."""
    mark = condition(status, kind)
    return mark is not None and mark["status"] == value and reason in ("", mark.get("reason"))
