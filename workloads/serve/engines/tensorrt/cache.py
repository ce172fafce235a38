"""Cache of built engines, shared by replicas: `<folder>/<key>/` has engine.plan and engine.json, whole or not at all.

A plan is executable code: it is loaded only when its sha256 is the recorded one and it was made from exactly this key.
"""

import json
import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any

from workloads import storage
from workloads.serve.engines.tensorrt.key import EngineKey

LOG = logging.getLogger("slipway.serve.tensorrt")
PLAN = "engine.plan"
RECORD = "engine.json"


def find(folder: Path, key: EngineKey) -> bytes | None:
    """The plan for this key, or None when there is none or it is not what was written."""
    if record_of(folder, key) is None:
        return None
    try:
        return (folder / key.digest / PLAN).read_bytes()
    except OSError:
        return None


def record_of(folder: Path, key: EngineKey) -> dict[str, Any] | None:
    """Record in engine.json of an undamaged plan for this key; None where there is none."""
    place = folder / key.digest
    try:
        record = json.loads((place / RECORD).read_text())
        digest = storage.sha256_of(place / PLAN)
    except (OSError, ValueError):
        return None
    made_from = json.loads(json.dumps(key.document()))
    if record.get("key") != made_from or record.get("sha256") != digest:
        LOG.warning("the cached engine %s is not what was written: it is built again", place)
        return None
    return dict(record)


def absent(folder: Path | None, key: EngineKey) -> str:
    """Message for a server that may not build and finds no engine: the GPUs that this model's engines are for."""
    wanted = f"the engine cache {folder} has no engine of this model for {key.architecture} with {key.library}"
    others = sorted(
        f"{made.get('architecture')} with {made.get('library')}"
        for made in _keys(folder)
        if made.get("model") == key.model
    )
    if others:
        return f"{wanted}, only for {', '.join(others)}: an engine runs only where it was built for"
    return f"{wanted}: `python -m workloads serve --build-only` builds one, and the operator's Job does"


def _keys(folder: Path | None) -> list[dict[str, Any]]:
    found = []
    for path in folder.glob(f"*/{RECORD}") if folder is not None else ():
        try:
            found.append(dict(json.loads(path.read_text())["key"]))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def keep(folder: Path, key: EngineKey, plan: bytes, facts: dict[str, Any]) -> bool:
    """Store a plan. False when the folder cannot be written: a server then goes on without the cache."""
    place = folder / key.digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{key.digest}-", dir=folder))
    except OSError as error:
        LOG.warning("the engine cache %s cannot be written: %s", folder, error)
        return False
    try:
        (staged / PLAN).write_bytes(plan)
        record = {"key": key.document(), "sha256": storage.sha256_of(staged / PLAN), "bytes": len(plan), **facts}
        (staged / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
        staged.chmod(0o755)
        storage.sync_tree(staged)
        _publish(staged, place)
    except OSError as error:
        LOG.warning("the engine could not be kept in %s: %s", folder, error)
        return False
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return True


def _publish(staged: Path, place: Path) -> None:
    """Rename. Another replica may have been faster, and a damaged engine may be in the way."""
    if place.exists():
        broken = Path(tempfile.mkdtemp(prefix=".replaced-", dir=place.parent))
        place.rename(broken / place.name)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        staged.rename(place)
    except OSError:
        if not (place / RECORD).is_file():
            raise
