"""Work folder of a job: JSON records and models that stages leave, each written whole or not at all.

A stage that is killed finds here what it had done; a stage that runs twice finds that it has nothing to do.
"""

import json
import os
from pathlib import Path
from typing import Any

from workloads import storage
from workloads.errors import BadInput, Corrupt


class Work:
    """The job's own folder. Records are JSON objects by name; a name may have one `/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @classmethod
    def at(cls, uri: str, name: str) -> "Work":
        """The folder `name` below a URI. BadInput when that is no file system."""
        root = storage.local_path(uri)
        if root is None:
            raise BadInput(f"{uri}: unfinished work needs a file system, pvc:// or file://; set work.uri")
        return cls(root / name)

    def path(self, name: str) -> Path:
        """Path of a file of that name, which need not be there yet."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        return path

    def read(self, name: str) -> dict[str, Any] | None:
        """A record, or None when it is not there yet."""
        path = self.folder / f"{name}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise Corrupt(f"{path}: damaged ({error}); delete it to have it computed again") from error
        return record

    def require(self, name: str) -> dict[str, Any]:
        """A record that an earlier stage must have left. BadInput when it has not run."""
        record = self.read(name)
        if record is None:
            raise BadInput(
                f"{self.folder}: there is no {name}.json: an earlier stage has not run, or in another folder"
            )
        return record

    def write(self, name: str, record: dict[str, Any]) -> None:
        """Keep a record, for good once this returns."""
        path = self.path(f"{name}.json")
        staged = path.with_name(f".{path.name}.{os.getpid()}.partial")
        with staged.open("w") as stream:
            json.dump(record, stream, indent=1, sort_keys=True, allow_nan=False)
            stream.flush()
            os.fsync(stream.fileno())
        staged.rename(path)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """Records that `append` has kept; a last line that was cut by a kill is left out."""
        try:
            text = (self.folder / f"{name}.jsonl").read_text()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add one line to a growing record; one writer per name. Half a line of a killed writer is overwritten."""
        path = self.path(f"{name}.jsonl")
        whole = path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
        with path.open("r+b" if path.exists() else "wb") as stream:
            stream.truncate(whole)
            stream.seek(whole)
            stream.write(json.dumps(record, allow_nan=False).encode() + b"\n")
