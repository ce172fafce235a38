"""Asks a served model about a picture that it was not trained on, as a person with curl would."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tests.cluster.kubectl import Kubectl, KubectlError
from workloads.data.images import digits

SHADES = " .:-=+*#%@"


@contextlib.contextmanager
def forwarded(kubectl: Kubectl, namespace: str, service: str, port: int) -> Iterator[str]:
    """`kubectl port-forward` while the block lasts; gives the URL on this machine."""
    command = [*kubectl.base, "-n", namespace, "port-forward", f"service/{service}", f":{port}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        if found is None:
            raise KubectlError(f"{' '.join(command)}: {line}{process.stdout.read()}")
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.terminate()
        process.wait(10)


def held_out_digit(number: int) -> tuple[np.ndarray[Any, Any], str]:
    """A picture, uint8 [8, 8], that the demo's model has not seen, and what it shows."""
    data = digits.load(None)
    pictures, labels = data.held_out.batch([number])
    return pictures[0, 0], data.labels[int(labels[0])]


def ask(url: str, picture: np.ndarray[Any, Any]) -> dict[str, Any]:
    """POST the picture as PNG to /predict."""
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    request = urllib.request.Request(f"{url}/predict", content.getvalue(), {"Content-Type": "image/png"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        reply: dict[str, Any] = json.load(answer)
    return reply


def right(kubectl: Kubectl, namespace: str, service: str, count: int) -> int:
    """How many of so many pictures that its model has not seen the service names by what they show."""
    with forwarded(kubectl, namespace, service, 80) as url:
        pictures = [held_out_digit(number) for number in range(count)]
        return sum(ask(url, picture)["predictions"][0]["label"] == truth for picture, truth in pictures)


def drawn(picture: np.ndarray[Any, Any]) -> str:
    """The picture for a terminal."""
    rows = (picture.astype(int) * (len(SHADES) - 1) // 255).tolist()
    return "\n".join("    " + "".join(SHADES[shade] * 2 for shade in row) for row in rows)
