"""`python -m workloads COMMAND`: finds the command and hands over.

Nothing heavy is imported before it is known what is asked.
"""

import importlib
import os
import sys

# name -> (module with `main(arguments) -> exit code`, one line for people)
COMMANDS = {
    "train": ("workloads.train.command", "train a model from a TrainingJob document, on one process or many"),
    "torchrun": ("workloads.train.torchrun", "torchrun whose exit code is that of the process that failed first"),
    "plan": ("workloads.train.plan", "print which training strategies fit a GPU's memory, and which Auto takes"),
    "export": ("workloads.export.command", "add model.onnx to an artifact, proved equal to torch"),
    "import": ("workloads.importing.command", "make an artifact of an ONNX file and what it does"),
    "quantize": ("workloads.quantize.command", "quantize the model of a QuantizationJob document, and prove it"),
    "bench": ("workloads.bench.command", "measure models on every engine that is here, side by side"),
    "serve": ("workloads.serve.command", "serve an artifact over the Open Inference Protocol, batched"),
    "activate": ("workloads.activator.command", "hold the requests of a service at zero until a replica serves"),
}


def usage() -> str:
    """The list of commands."""
    lines = ["usage: python -m workloads COMMAND [--help] ...", "", "commands:"]
    lines += [f"  {name:<10} {summary}" for name, (_, summary) in COMMANDS.items()]
    return "\n".join(lines)


def open_streams() -> None:
    """Open what is closed of stdin, stdout and stderr.

    Else the next file that is opened gets the number of one, and what is printed goes into a user's file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (for good)


def main(arguments: list[str]) -> int:
    """Run one command. Returns its exit code; 2 when there is no such command."""
    open_streams()
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(usage())
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"no command {name!r}\n\n{usage()}", file=sys.stderr)
        return 2
    code: int = importlib.import_module(COMMANDS[name][0]).main(rest)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
