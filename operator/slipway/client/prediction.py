"""Requests to a server: Open Inference Protocol for tensors, `/predict` for texts and pictures.

Names and types of inputs are asked from the server, so that lists, numbers and arrays can be given as they are.
"""

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slipway.client.errors import ClientError, SpecError, UnreachableError

Ask = Callable[[str, str, bytes | None, str], bytes]
"""Method, path, body and content type to the bytes of the answer."""


class Prediction:
    """One model of one server."""

    def __init__(self, ask: Ask, model: str) -> None:
        """Keep the way to the server and the model's name."""
        self._ask = ask
        self.model = model

    def predict(
        self, inputs: Mapping[str, Any] | Any = None, *, texts: Any = None, image: bytes | str | Path | None = None
    ) -> Any:
        """Outputs by name, as nested lists: of `inputs`; or what `/predict` says of `texts` or of one `image`.

        `inputs`: nested lists or arrays (batch first) by the inputs' names, or one of them for a model with one input.
        `image`: a file's path or its bytes. Raises SpecError for inputs that the model does not have, and ClientError
        with the server's words.
        """
        given = [one is not None for one in (inputs, texts, image)]
        if sum(given) != 1:
            raise SpecError(["give one of inputs, texts and image"])
        if texts is not None:
            words = [texts] if isinstance(texts, str) else list(texts)
            return self._json("POST", "/predict", json.dumps({"texts": words}).encode(), "application/json")
        if image is not None:
            picture = image if isinstance(image, bytes) else Path(image).read_bytes()
            return self._json("POST", "/predict", picture, "application/octet-stream")
        return self._infer(inputs)

    def metadata(self) -> dict[str, Any]:
        """The model's description: inputs and outputs with names, types and shapes."""
        found: dict[str, Any] = self._json("GET", f"/v2/models/{self.model}", None, "application/json")
        return found

    def _infer(self, inputs: Any) -> dict[str, Any]:
        known = {one["name"]: one for one in self.metadata()["inputs"]}
        named = dict(inputs) if isinstance(inputs, Mapping) else {next(iter(known)): inputs}
        if not isinstance(inputs, Mapping) and len(known) > 1:
            raise SpecError([f"the model has the inputs {', '.join(known)}: give a mapping of their names to arrays"])
        if strange := sorted(set(named) - set(known)):
            raise SpecError([f"the model has no input {', '.join(strange)}; it has {', '.join(known)}"])
        tensors = [_tensor(name, known[name]["datatype"], value) for name, value in named.items()]
        body = json.dumps({"inputs": tensors}).encode()
        answer = self._json("POST", f"/v2/models/{self.model}/infer", body, "application/json")
        return {one["name"]: _nested(one["data"], one["shape"]) for one in answer["outputs"]}

    def _json(self, method: str, path: str, body: bytes | None, kind: str) -> Any:
        return json.loads(self._ask(method, path, body, kind))


def ask(url: str, method: str, body: bytes | None, headers: Mapping[str, str], timeout: float) -> bytes:
    """Answer of a server. Raises UnreachableError, or ClientError with the server's words. `timeout`: seconds."""
    place = urllib.parse.urlsplit(url)
    if place.scheme not in ("http", "https"):
        raise SpecError([f"{url} is no address of a server: begin it with http:// or https://"])
    request = urllib.request.Request(url, body, dict(headers), method=method)  # noqa: S310 (checked above)
    # A proxy of the environment does not know this machine's own servers.
    own = place.hostname in ("127.0.0.1", "localhost", "::1")
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if own else []))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        raise ClientError(f"HTTP {error.code}: {error.read().decode(errors='replace')[:1000]}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise UnreachableError(f"{url} cannot be reached: {error}") from None


def _tensor(name: str, datatype: str, value: Any) -> dict[str, Any]:
    nested = value.tolist() if hasattr(value, "tolist") else value
    shape, level = [], nested
    while isinstance(level, list | tuple):
        shape.append(len(level))
        level = level[0] if level else None
    if not shape:
        raise SpecError([f"input {name} is a single {type(value).__name__}: give a list or an array, batch first"])
    flat = _flat(nested, shape)
    if flat is None:
        raise SpecError([f"input {name} is ragged: its lists are not of one shape, {shape} by the first of them"])
    return {"name": name, "datatype": datatype, "shape": shape, "data": flat}


def _flat(nested: Any, shape: list[int]) -> list[Any] | None:
    """Values in C order; None for lists that are not of this shape."""
    if not shape:
        return None if isinstance(nested, list | tuple) else [nested]
    if not isinstance(nested, list | tuple) or len(nested) != shape[0]:
        return None
    parts = [_flat(one, shape[1:]) for one in nested]
    return None if any(part is None for part in parts) else [value for part in parts for value in part or []]


def _nested(data: list[Any], shape: list[int]) -> Any:
    """Lists of this shape of values in C order; data that is nested already is left."""
    if len(shape) <= 1 or (data and isinstance(data[0], list)):
        return data
    width = len(data) // shape[0] if shape[0] else 0
    return [_nested(data[i * width : (i + 1) * width], shape[1:]) for i in range(shape[0])]
