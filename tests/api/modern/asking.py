"""What a server says to an object: its refusal in words, or nothing. Nothing is kept."""

from __future__ import annotations

import copy
from typing import Any

from slipway.api.codegen.crd import KINDS
from tests.cluster.rest import ApiError, Client

Object = dict[str, Any]
PLURALS = {kind.kind: kind.plural for kind in KINDS}


def collection(obj: Object, namespace: str = "default") -> str:
    """Where objects of this kind of ours are."""
    return f"/apis/{obj['apiVersion']}/namespaces/{namespace}/{PLURALS[obj['kind']]}"


def refusal(client: Client, obj: Object, validation: str = "Warn") -> str:
    """What the server says when it is to create the object; "" if it would. `validation`: of unknown fields.

    Raises ApiError for what is no judgement.
    """
    body = copy.deepcopy(obj)
    body["metadata"]["namespace"] = "default"
    return _judged(client, "POST", f"{collection(obj)}?dryRun=All&fieldValidation={validation}", body)


def edit_refusal(client: Client, obj: Object, patch: Object) -> str:
    """The same for a merge patch of an object that is there."""
    path = f"{collection(obj)}/{obj['metadata']['name']}?dryRun=All"
    return _judged(client, "PATCH", path, patch, "application/merge-patch+json")


def _judged(client: Client, method: str, path: str, body: Object, content_type: str = "application/json") -> str:
    try:
        client.call(method, path, body, content_type)
    except ApiError as error:
        if error.code not in {400, 422}:
            raise
        return str(error)
    return ""
