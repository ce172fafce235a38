"""A small synchronous Kubernetes client on the standard library: what bringing a cluster up needs, and no more.

Used by the cluster's own set-up, its DNS server and its volume provisioner. Tests of Slipway use Slipway's client.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

Object = dict[str, Any]


class ApiError(Exception):
    """The server refused: `code` is the HTTP status, the text is the server's own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Client:
    """Speaks to the current context (or the named one) of a kubeconfig. One connection per call: made for few calls."""

    def __init__(self, kubeconfig: Path, context: str | None = None) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        chosen = _named(config["contexts"], context or config["current-context"])["context"]
        cluster = _named(config["clusters"], chosen["cluster"])["cluster"]
        user = _named(config["users"], chosen["user"])["user"]
        self.server = urlsplit(cluster["server"])
        self.tls = _tls(cluster, user)
        self._token = user.get("token")

    def call(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        """Send one request and return the decoded answer. Raises ApiError, OSError."""
        connection = self._connection(timeout=30)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, path, payload, self.headers(content_type))
            answer = connection.getresponse()
            return _decoded(answer.status, answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Object:
        """GET one object or list."""
        return self.call("GET", path)

    def patch(self, path: str, body: Object) -> Object:
        """Apply a JSON merge patch."""
        return self.call("PATCH", path, body, "application/merge-patch+json")

    def apply(self, collection: str, body: Object) -> None:
        """Create an object unless one of its name exists already."""
        try:
            self.call("POST", collection, body)
        except ApiError as error:
            if error.code != 409:
                raise

    def follow(self, path: str, store: Callable[[list[Object]], None]) -> None:
        """Call `store` with all objects of a collection, at first and after each change. Runs until the process ends.

        Every dropped connection and every refused watch ends in a fresh list, so nothing deleted meanwhile is kept.
        """
        while True:
            try:
                listed = self.get(path)
                objects = {o["metadata"]["uid"]: o for o in listed["items"]}
                store(list(objects.values()))
                for event in self._watch(path, listed["metadata"]["resourceVersion"]):
                    if event["type"] == "DELETED":
                        objects.pop(event["object"]["metadata"]["uid"], None)
                    elif event["type"] in {"ADDED", "MODIFIED"}:
                        objects[event["object"]["metadata"]["uid"]] = event["object"]
                    store(list(objects.values()))
            except (ApiError, OSError, http.client.HTTPException, ValueError):
                time.sleep(0.5)  # the server is away or restarting: nothing can be awaited but time

    def _watch(self, path: str, version: str) -> Iterator[Object]:
        connection = self._connection(timeout=330)
        try:
            query = f"{path}?watch=1&timeoutSeconds=300&resourceVersion={version}"
            connection.request("GET", query, headers=self.headers("application/json"))
            answer = connection.getresponse()
            if answer.status != 200:
                _decoded(answer.status, answer.read())
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield event
        finally:
            connection.close()

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self.server.hostname or "", self.server.port
        if self.server.scheme == "http":
            return http.client.HTTPConnection(host, port or 80, timeout=timeout)
        return http.client.HTTPSConnection(host, port or 443, timeout=timeout, context=self.tls)

    def headers(self, content_type: str) -> dict[str, str]:
        """Return the headers of a request, with the token where there is one."""
        headers = {"Content-Type": content_type, "Accept": "application/json", "User-Agent": "slipway-test-cluster"}
        return {**headers, "Authorization": f"Bearer {self._token}"} if self._token else headers


def _decoded(status: int, payload: bytes) -> Object:
    try:
        answer: Object = json.loads(payload)
    except ValueError:
        answer = {"message": payload.decode(errors="replace")}
    if status >= 400:
        raise ApiError(status, str(answer.get("message", payload)))
    return answer


def _named(entries: list[Object], name: str) -> Object:
    return next(e for e in entries if e["name"] == name)


def _tls(cluster: Object, user: Object) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif "certificate-authority-data" in cluster:
        context.load_verify_locations(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    elif "certificate-authority" in cluster:
        context.load_verify_locations(cafile=cluster["certificate-authority"])
    if "client-certificate-data" in user:
        with tempfile.NamedTemporaryFile() as file:  # the ssl module takes a client's key from a file only
            for part in ("client-certificate-data", "client-key-data"):
                file.write(base64.b64decode(user[part]) + b"\n")
            file.flush()
            context.load_cert_chain(file.name)
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context
