"""Which exit code does a failure have? Raised everywhere in workloads, turned into words and a code by the commands."""

SUCCESS = 0
FAILURE = 1
BAD_INPUT = 2
INTERRUPTED = 130
TERMINATED = 143


class BadInput(Exception):  # noqa: N818 (read as what happened, at every raise)
    """The job, its data or its paths are wrong: running again without a change cannot help. Exit code 2."""


class Corrupt(Exception):  # noqa: N818
    """A file is not what its digest says. Exit code 1: another copy or another attempt may be whole."""


class Terminated(Exception):  # noqa: N818
    """SIGTERM was received and what there was to save is saved. Exit code 143 = 128 + 15, as a shell shows it."""
