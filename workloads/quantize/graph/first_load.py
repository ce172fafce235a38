"""First load of a stranger's model, in a process of its own: what kills a process kills that one.

ONNX Runtime's and ONNX's C++ end some graphs with a segmentation fault, an endless loop, or all memory: bytes from
elsewhere, so any of them may. A job that dies of it says nothing and is tried again; here its death is an answer in
words. Asked once for a job, before its own process opens the model: `require`. The child runs `python -m` this module.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from workloads.errors import BadInput

IN_MEMORY = 256 << 20  # bytes of a model with external data that is read whole, so that its nodes can be named
SECONDS, BYTES_PER_SECOND = 120.0, 20e6  # of time: for any model, and more for a large one
MEMORY, TIMES = 6 << 30, 6  # bytes of addresses: for any model, and times its size
REFUSED = 3  # exit code: the library said why


def require(path: Path, size: int, *, seconds: float = SECONDS, memory: int = MEMORY) -> None:
    """BadInput when the model cannot be checked and loaded, whatever that does to the process that tries.

    `size`: bytes of the file and of its external data; `seconds` and `memory` are what any model may take.
    """
    seconds += size / BYTES_PER_SECOND
    try:
        code, said, errors = attempt(path, size, memory, seconds)
    except TimeoutError as error:
        raise BadInput(f"{path.name}: ONNX Runtime has not loaded the model within {seconds:.0f} s") from error
    if code == 0:
        return
    if code == REFUSED:
        raise BadInput(f"{path.name}: {said}"[:1000])
    raise BadInput(f"{path.name}: {_death(code, errors)}"[:1000])


def attempt(path: Path, size: int, memory: int, seconds: float) -> tuple[int, str, str]:
    """Exit code of a new process that loads the model, what it said, and its errors; TimeoutError after `seconds`."""
    # It finds its modules wherever this process does, however that was started; one core is enough.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-m", "workloads.quantize.graph.first_load", str(path), str(size), str(memory)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, env=environment, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError from error
    return done.returncode, done.stdout.decode(errors="replace").strip(), done.stderr.decode(errors="replace")


def _death(code: int, said: str) -> str:
    """Error message for a child process that ended badly, with the signal or exit code and its last line."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        how = f"ended by {name}" + (", as when memory runs out" if -code == signal.SIGKILL else "")
    else:
        how = f"ended with exit code {code}"
    last = said.strip().splitlines()[-1][:200] if said.strip() else ""
    return f"ONNX Runtime crashes when it loads this model: the process that tried was {how}" + (
        f" ({last})" if last else "; simplify the graph, or export it with another version"
    )


def load(path: Path, size: int, memory: int) -> str:
    """Load the model in that process; returns why it takes too much, or the empty string.

    What the library refuses is told by whoever loads it in earnest.
    """
    import onnx
    import onnxruntime

    from workloads.quantize.graph.tidy import tidy

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = memory + TIMES * size
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    given: bytes | str = str(path)
    try:
        with contextlib.suppress(onnx.checker.ValidationError):
            onnx.checker.check_model(str(path))
        if size <= IN_MEMORY or path.stat().st_size == size:
            model = onnx.load(path)
            with contextlib.suppress(onnx.shape_inference.InferenceError):
                onnx.shape_inference.infer_shapes(model)
            # As the job itself loads it: nodes of one name, say, are refused before anything can go wrong.
            tidy(model)
            given = model.SerializeToString()
            del model
        levels = onnxruntime.GraphOptimizationLevel
        for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL):
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level, options.log_severity_level = level, 4
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            options.add_session_config_entry("session.disable_prepacking", "1")
            onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        return f"ONNX Runtime takes more than {most >> 20} MiB of addresses to load the model"
    except Exception as error:  # the libraries raise a dozen unrelated types
        if any(sign in str(error).lower() for sign in ("bad_alloc", "alloc_failed", "failed to allocate")):
            return f"ONNX Runtime takes more than {most >> 20} MiB of addresses to load the model"
    return ""


if __name__ == "__main__":
    reason = load(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    print(reason)
    sys.exit(REFUSED if reason else 0)
