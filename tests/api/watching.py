"""Wait for what the API server tells, by its own watches: nothing is polled and nothing sleeps."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.cluster.rest import Client

Object = dict[str, Any]


def watch(
    client: Client,
    collection: str,
    holds: Callable[[dict[str, Object]], Any],
    *,
    name: str = "",
    selector: str = "",
    seconds: float = 20,
) -> dict[str, Object]:
    """Follow a collection (or one object of it) until `holds`, which gets its objects by name; returns them.

    Fails with what was seen last, when that takes longer than `seconds`.
    """
    query = {"fieldSelector": f"metadata.name={name}"} if name else {}
    query |= {"labelSelector": selector} if selector else {}
    deadline = time.monotonic() + seconds
    listed = client.get(f"{collection}?{urlencode(query)}")
    objects = {item["metadata"]["name"]: item for item in listed["items"]}
    version = listed["metadata"]["resourceVersion"]
    while not holds(objects):
        try:
            version = _follow(client, collection, query | {"resourceVersion": version}, objects, holds, deadline)
        except TimeoutError:
            shown = json.dumps([_brief(item) for item in objects.values()], indent=1)
            raise AssertionError(f"not within {seconds:.1f} s; {collection} holds {shown}") from None
    return objects


def until_gone(client: Client, collection: str, name: str, seconds: float = 20) -> None:
    """Wait until an object is not there any more."""
    watch(client, collection, lambda objects: name not in objects, name=name, seconds=seconds)


def _follow(
    client: Client,
    collection: str,
    query: dict[str, str],
    objects: dict[str, Object],
    holds: Callable[[dict[str, Object]], Any],
    deadline: float,
) -> str:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection = client._connection(timeout=left)
    try:
        connection.request(
            "GET", f"{collection}?{urlencode(query)}&watch=1", headers=client.headers("application/json")
        )
        answer = connection.getresponse()
        version = query["resourceVersion"]
        for line in answer:
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise AssertionError(f"the watch broke: {event['object']}")
            version = event["object"]["metadata"]["resourceVersion"]
            found = event["object"]["metadata"]["name"]
            if event["type"] == "DELETED":
                objects.pop(found, None)
            else:
                objects[found] = event["object"]
            if holds(objects):
                return str(version)
            if time.monotonic() > deadline:
                raise TimeoutError
            if connection.sock is not None:
                connection.sock.settimeout(max(0.01, deadline - time.monotonic()))
        return str(version)
    finally:
        connection.close()


def _brief(item: Object) -> Object:
    status = item.get("status") or {}
    kept = {
        key: status[key] for key in ("phase", "conditions", "attempt", "restartCount", "lastFailure") if key in status
    }
    return {"name": item["metadata"]["name"], "status": kept, "deletion": item["metadata"].get("deletionTimestamp")}
