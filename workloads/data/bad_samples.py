"""Handling of samples that cannot be decoded: each ends the job, or is left out, counted and named.

In its place comes the next one that can be decoded: what a process sees depends on the files alone, so a resumed run,
on more or fewer processes, goes on with the very same samples.
"""

import os
import tempfile

from slipway.api.common.sources import OnBadSample
from workloads.errors import BadInput, Unavailable

SHARE = 100  # of so many samples one may be bad
LEAST = 10  # and so many in any case


class BadSamples:
    """Record of one data set's bad samples. Loader processes are forked after it is made, and write into one file."""

    def __init__(self, what: OnBadSample = OnBadSample.FAIL, total: int = 0) -> None:
        self._skip = what is OnBadSample.SKIP
        self._most = max(LEAST, total // SHARE)
        self._known: set[str] = set()
        self._file = tempfile.TemporaryFile("a+b", buffering=0) if self._skip else None  # noqa: SIM115 (the process's life)

    @property
    def skips(self) -> bool:
        """Tell whether bad samples are left out and counted, instead of ending the job."""
        return self._skip

    def found(self, name: str, error: BaseException) -> None:
        """Note a bad sample.

        BadInput when it may not be skipped, or when too many are bad; Unavailable for the disk's fault.
        """
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, FileNotFoundError):
            raise Unavailable(f"{name}: cannot be read ({error})") from error
        if not self._skip or self._file is None:
            remedy = "replace it, remove it, or set dataset.onBadSample: Skip"
            raise BadInput(f"{name}: this picture cannot be decoded ({error}): {remedy}") from error
        if name in self._known:
            return
        self._known.add(name)
        # One write of an appending file: lines of several processes do not mix.
        os.write(self._file.fileno(), name.encode(errors="surrogateescape").replace(b"\n", b"?") + b"\n")
        if len(self._known) > self._most:
            raise BadInput(
                f"more than {self._most} pictures cannot be decoded, the last one is {name} ({error}): "
                "that is no exception any more; look at the data"
            )

    def names(self) -> set[str]:
        """Names of all bad samples found so far, by this process and its loaders."""
        if self._file is None:
            return set()
        descriptor = self._file.fileno()
        content = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        return set(content.decode(errors="surrogateescape").splitlines())
