"""Errors of workloads and their exit codes.

Raised everywhere in workloads, turned into words and a code by the commands.
"""

import re
from collections.abc import Iterator

from slipway.api.exit_codes import ExitCode

SUCCESS = ExitCode.SUCCESS
FAILURE = ExitCode.FAILURE
BAD_INPUT = ExitCode.BAD_INPUT
REJECTED = ExitCode.REJECTED
INTERRUPTED = ExitCode.INTERRUPTED
TERMINATED = ExitCode.TERMINATED


class BadInput(Exception):  # noqa: N818 (read as what happened, at every raise)
    """The job, its data or its paths are wrong: running again without a change cannot help. Exit code 2."""


class Diverged(BadInput):
    """The training has left the numbers. Exit code 2: the same steps would lead there again."""


class GateFailed(BadInput):
    """A model is worse than the job allows, and is not published. Exit code 3: the same steps would make it again."""


class Corrupt(Exception):  # noqa: N818
    """A file is not what its digest says. Exit code 1: another copy or another attempt may be whole."""


class Unavailable(Exception):  # noqa: N818
    """A store does not answer, or a disk has no room now. Exit code 1: another attempt may find it well."""


class Terminated(Exception):  # noqa: N818
    """SIGTERM was received and what there was to save is saved. Exit code 143 = 128 + 15, as a shell shows it."""


# Of these libraries only what a graph or a file is answered with; a machine's faults come as OSError or MemoryError.
_OF_THE_INPUT = ("onnx", "onnxruntime", "google.protobuf", "safetensors", "pydantic_core")
# What torch says, as a RuntimeError, of a model that does not fit its data or its strategy.
_OF_THE_CODE = re.compile(
    r"shapes? (cannot|can't|mismatch|'\[|of )|size mismatch|must match|mat1 and mat2|expected scalar type|"
    r"expected to have finished reduction|does not require grad|error\(s\) in loading state_dict|"
    r"dimension out of range|"
    r"size of tensor|expected input|given groups|invalid for input of size|should be the same|not implemented for '"
)
# What Hugging Face's libraries raise where nobody may ask the hub, or where it refuses: by name, wherever in the chain.
_OF_THE_HUB = {
    "OfflineModeIsEnabled": "this pod may not ask Hugging Face's hub (HF_HUB_OFFLINE)",
    "GatedRepoError": "the hub asks for a licence that this account has not accepted",
    "RepositoryNotFoundError": "the hub has no such repository, or these credentials may not see it",
    "RevisionNotFoundError": "the hub's repository has no such revision",
}
_DETERMINISTIC = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def comes_again(error: BaseException) -> bool:
    """Tell whether the same input would fail in the same way: an attempt on another machine is then a waste.

    The kinds that a program raises about what it was given, not about where it runs; when in doubt, no.
    """
    if of_the_hub(error) is not None:
        return True
    words = str(error).lower()
    if any(sign in words for sign in ("alloc", "out of memory", "no space left", "cuda error", "timed out")):
        return False
    if type(error) is RuntimeError and _OF_THE_CODE.search(words):
        return True
    module = type(error).__module__
    of_library = any(module == name or module.startswith(f"{name}.") for name in _OF_THE_INPUT)
    return isinstance(error, _DETERMINISTIC) or (of_library and not isinstance(error, OSError | MemoryError))


def of_the_hub(error: BaseException) -> str | None:
    """Words for an error of Hugging Face's hub that comes again; None for any other."""
    for one in _chain(error):
        words = next((_OF_THE_HUB[kind.__name__] for kind in type(one).__mro__ if kind.__name__ in _OF_THE_HUB), None)
        if words is not None:
            return f"{words}: put the files into a folder, and name its path"
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


# What is told in words alone, without a traceback.
TOLD = (BadInput, Corrupt, Unavailable, Terminated)
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (SystemExit, TERMINATED),
    (Terminated, TERMINATED),
    (KeyboardInterrupt, INTERRUPTED),
    (GateFailed, REJECTED),
    (BadInput, BAD_INPUT),
    (Corrupt, FAILURE),
    (Unavailable, FAILURE),
)


def code_of(error: BaseException) -> int:
    """The exit code: from the table of causes, else whether the same input would be answered with the same error."""
    known = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if known is not None:
        return known
    return BAD_INPUT if comes_again(error) else FAILURE
