"""Exit codes of the programs in pods, one table for all: written by workloads, read by the operator, told in docs.

Payloads that run alone in somebody's image cannot import this; a test holds their numbers to it.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """End of a program, and whether another attempt may help."""

    SUCCESS = 0
    FAILURE = 1
    BAD_INPUT = 2
    REJECTED = 3
    UNFIT = 78
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def final(self) -> bool:
        """Tell whether the same input would end so again, so that nothing is restarted."""
        return self in {ExitCode.BAD_INPUT, ExitCode.REJECTED, ExitCode.UNFIT}


MEANINGS = {
    ExitCode.SUCCESS: "it has ended well, and what it made is published",
    ExitCode.FAILURE: "a fault of the machine, the network, a store or a file that another attempt may find well",
    ExitCode.BAD_INPUT: "the job, its data, its code or its model is wrong, a training has diverged, a hub "
    "that is switched off or refuses was asked",
    ExitCode.REJECTED: "a gate was not passed: of quantization, or of a training's compression",
    ExitCode.UNFIT: "a command of one's own has ended well and left nothing that can be an artifact",
    ExitCode.INTERRUPTED: "Ctrl-C on a laptop",
    ExitCode.TERMINATED: "SIGTERM was answered: what there was to save is saved",
}


def table() -> str:
    """The table of docs/troubleshooting.md."""
    rows = [
        f"| {code.value} | {meaning} | {'no' if code.final else 'yes' if code.value else 'not needed'} |"
        for code, meaning in MEANINGS.items()
    ]
    return "\n".join(["| exit code | what has happened | tried again |", "|---|---|---|", *rows])
