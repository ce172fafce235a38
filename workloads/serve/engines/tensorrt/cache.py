"""Where are engines kept? In `<folder>/<key>/` as engine.plan and engine.json, shared by replicas, whole or not at all.

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
    place = folder / key.digest
    try:
        record = json.loads((place / RECORD).read_text())
        digest = storage.sha256_of(place / PLAN)
        plan = (place / PLAN).read_bytes()
    except (OSError, ValueError):
        return None
    made_from = json.loads(json.dumps(key.document()))
    if record.get("key") != made_from or record.get("sha256") != digest:
        LOG.warning("the cached engine %s is not what was written: it is built again", place)
        return None
    return plan


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
