"""Errors of workloads and their exit codes.

Raised everywhere in workloads, turned into words and a code by the commands.
"""

import re

SUCCESS = 0
FAILURE = 1
BAD_INPUT = 2
INTERRUPTED = 130
TERMINATED = 143


class BadInput(Exception):  # noqa: N818 (read as what happened, at every raise)
    """The job, its data or its paths are wrong: running again without a change cannot help. Exit code 2."""


class Diverged(BadInput):
    """The training has left the numbers. Exit code 2: the same steps would lead there again."""


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
_DETERMINISTIC = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def comes_again(error: BaseException) -> bool:
    """Tell whether the same input would fail in the same way: an attempt on another machine is then a waste.

    The kinds that a program raises about what it was given, not about where it runs; when in doubt, no.
    """
    words = str(error).lower()
    if any(sign in words for sign in ("alloc", "out of memory", "no space left", "cuda error", "timed out")):
        return False
    if type(error) is RuntimeError and _OF_THE_CODE.search(words):
        return True
    module = type(error).__module__
    of_library = any(module == name or module.startswith(f"{name}.") for name in _OF_THE_INPUT)
    return isinstance(error, _DETERMINISTIC) or (of_library and not isinstance(error, OSError | MemoryError))


# What is told in words alone, without a traceback.
TOLD = (BadInput, Corrupt, Unavailable, Terminated)
_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (SystemExit, TERMINATED),
    (Terminated, TERMINATED),
    (KeyboardInterrupt, INTERRUPTED),
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
