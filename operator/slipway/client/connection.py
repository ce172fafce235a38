"""Connection to a cluster by Kubernetes' own Python client, with every way to sign in that a kubeconfig knows.

Exec plugins of EKS, GKE and AKS, tokens, certificates and proxies are the client's own; a pod's service account is
taken where there is no kubeconfig. Each failure becomes an error of this package, in words.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import kubernetes
import urllib3
from kubernetes.client.exceptions import ApiException

from slipway.api.common.types import GROUP, VERSION
from slipway.client.errors import (
    ClientError,
    DeniedError,
    ExistsError,
    MissingError,
    SpecError,
    UnreachableError,
)

Object = dict[str, Any]
T = TypeVar("T")
MERGE = "application/merge-patch+json"
REQUEST_SECONDS = 30
"""Limit of one request; watches and logs have their own."""


class Connection:
    """A cluster and a namespace. Safe for threads, as the client below is."""

    def __init__(self, namespace: str = "", kubeconfig: str | Path = "", context: str = "") -> None:
        """Read the kubeconfig, or the service account of a pod. Raises UnreachableError."""
        self.api, found = _api(str(kubeconfig), context)
        self.namespace = namespace or found
        self._custom = kubernetes.client.CustomObjectsApi(self.api)
        self._core = kubernetes.client.CoreV1Api(self.api)

    def create(self, plural: str, document: Object) -> Object:
        """Create an object. Raises ExistsError, SpecError, DeniedError, MissingError, UnreachableError."""
        known = (GROUP, VERSION, self.namespace, plural)
        create = self._custom.create_namespaced_custom_object
        return dict(self._ask(create, *known, document, field_manager="slipway-client"))

    def get(self, plural: str, name: str) -> Object:
        """Read an object. Raises MissingError and others."""
        known = (GROUP, VERSION, self.namespace, plural, name)
        return dict(self._ask(self._custom.get_namespaced_custom_object, *known))

    def objects(self, plural: str, selector: str = "") -> list[Object]:
        """All objects of a kind in the namespace."""
        known = (GROUP, VERSION, self.namespace, plural)
        found = self._ask(self._custom.list_namespaced_custom_object, *known, label_selector=selector)
        return list(found["items"])

    def patch(self, plural: str, name: str, change: Object) -> Object:
        """Merge a change into an object."""
        known = (GROUP, VERSION, self.namespace, plural, name)
        patch = self._custom.patch_namespaced_custom_object
        return dict(self._ask(patch, *known, change, _content_type=MERGE))

    def delete(self, plural: str, name: str) -> None:
        """Delete an object, its pods in the background; one that is not there is no error."""
        with contextlib.suppress(MissingError):
            self._ask(self._custom.delete_namespaced_custom_object, GROUP, VERSION, self.namespace, plural, name)

    def changes(self, plural: str, name: str, version: str, seconds: int) -> Iterator[Object]:
        """States of an object after that resourceVersion, for so many seconds at most; the last is {} if it is gone."""
        watch = kubernetes.watch.Watch()
        known = (GROUP, VERSION, self.namespace, plural)
        selector = f"metadata.name={name}"
        try:
            for event in watch.stream(
                self._custom.list_namespaced_custom_object,
                *known,
                field_selector=selector,
                resource_version=version,
                timeout_seconds=seconds,
                _request_timeout=(REQUEST_SECONDS, seconds + REQUEST_SECONDS),
            ):
                if event["type"] == "DELETED":
                    yield {}
                    return
                yield event["object"]
        except ApiException as error:
            if error.status != 410:  # the version is too old: the caller reads anew
                _raise(error)
        except (urllib3.exceptions.HTTPError, OSError):
            return  # a connection that ended: the caller reads anew, and hears then what is wrong

    def pods(self, selector: str) -> list[Object]:
        """Pods by label, as JSON."""
        found = self._ask(self._core.list_namespaced_pod, self.namespace, label_selector=selector)
        return list(self.api.sanitize_for_serialization(found)["items"])

    def log(self, pod: str, container: str | None, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of a pod's log, without their ends."""
        limit = None if follow else REQUEST_SECONDS
        options: dict[str, Any] = {"follow": follow, "_preload_content": False, "_request_timeout": limit}
        if container:
            options["container"] = container
        if tail is not None:
            options["tail_lines"] = tail
        answer = self._ask(self._core.read_namespaced_pod_log, pod, self.namespace, **options)
        rest = b""
        try:
            for piece in answer.stream(amt=None, decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        except urllib3.exceptions.HTTPError as error:
            raise UnreachableError(f"the log of {pod} ended early: {error}") from None
        finally:
            answer.release_conn()
        if rest:
            yield rest.decode(errors="replace")

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str], seconds: float) -> bytes:
        """Answer of a path of the API server, such as a service's proxy. Raises ClientError with the server's words."""

        def ask(**options: Any) -> Any:
            url = f"{self.api.configuration.host}{path}"
            known = dict(headers)
            if token := self.api.configuration.auth_settings().get("BearerToken"):
                known[token["key"]] = token["value"]
            return self.api.rest_client.pool_manager.request(
                method, url, body=body, headers=known, timeout=seconds, retries=False, **options
            )

        answer = self._ask(ask, _direct=True)
        if answer.status >= 400:
            raise _error(answer.status, answer.data.decode(errors="replace"))
        return bytes(answer.data)

    def _ask(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if not options.pop("_direct", False):
            options.setdefault("_request_timeout", REQUEST_SECONDS)
        try:
            return call(*arguments, **{key: value for key, value in options.items() if value not in ("", None)})
        except ApiException as error:
            _raise(error)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise UnreachableError(f"the cluster cannot be reached: {error}") from None


def _api(kubeconfig: str, context: str) -> tuple[Any, str]:
    """The client and the namespace that its context names."""
    inside = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
    try:
        if not kubeconfig and not context and "KUBERNETES_SERVICE_HOST" in os.environ and inside.exists():
            configuration = kubernetes.client.Configuration()
            kubernetes.config.load_incluster_config(client_configuration=configuration)
            return kubernetes.client.ApiClient(configuration), inside.read_text().strip()
        api = kubernetes.config.new_client_from_config(kubeconfig or None, context or None)
        contexts, current = kubernetes.config.list_kube_config_contexts(kubeconfig or None)
    except (kubernetes.config.ConfigException, OSError) as error:
        raise UnreachableError(f"no cluster: {error}") from None
    chosen = next((one for one in contexts if one["name"] == context), current) if context else current
    return api, str(chosen["context"].get("namespace") or "default")


def _raise(error: ApiException) -> NoReturn:
    raise _error(int(error.status or 0), str(error.body or error.reason or "")) from None


def _error(status: int, body: str) -> ClientError:
    words = _message(body) or f"HTTP {status}"
    if status in (401, 403):
        return DeniedError(words)
    if status == 404:
        return MissingError(words)
    if status == 409:
        return ExistsError(words)
    if status in (400, 422):
        return SpecError([words])
    return UnreachableError(words) if status >= 500 or status == 0 else ClientError(words)


def _message(body: str) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return body.strip()[:1000]
    words = found.get("message") or found.get("error") if isinstance(found, dict) else None
    return str(words) if words else body.strip()[:1000]
