"""Output of `slipway install`: the CRDs and an installation's objects, for `kubectl apply -f -`."""

import re
from collections.abc import Iterator
from pathlib import Path

from slipway.images import NAMES
from slipway.install import yaml_files
from slipway.install.base import Object, shipped
from slipway.install.render import Settings, SettingsError, render

_PUSHED = re.compile(rf"^({'|'.join(NAMES)})=\S+@(sha256:[0-9a-f]{{64}})$", re.MULTILINE)


def digests(file: Path) -> dict[str, str]:
    """Digests by image, from a file with what `make push` printed. Raises SettingsError where one is missing."""
    try:
        found = dict(_PUSHED.findall(file.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from error
    if missing := [name for name in NAMES if name not in found]:
        raise SettingsError(
            f"{file} names no digest of {', '.join(missing)}: `make -s push REGISTRY=... > {file}` does"
        )
    return found


def manifests(settings: Settings, *, crds: bool, namespace: bool) -> Iterator[Object]:
    """The objects in the order in which they are applied. Raises SettingsError."""
    settings.check()
    parts = shipped()
    if crds:
        yield from parts.crds
    for obj in render(parts.base, parts.high_availability, settings):
        if namespace or obj["kind"] != "Namespace":
            yield obj


def text(settings: Settings, *, crds: bool, namespace: bool) -> str:
    """YAML of the manifests, each object a document. Raises SettingsError."""
    return yaml_files.written(manifests(settings, crds=crds, namespace=namespace), width=120)
