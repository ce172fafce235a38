"""`python -m workloads.serve.transform.process N`: runs the callables for requests that come over socket N.

Started by worker.py, and the only place where own code is imported. The first frame names the callables; its answer
says whether they are there. What they print goes to the server's log.
"""

import contextlib
import faulthandler
import importlib
import inspect
import logging
import os
import resource
import select
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from workloads.serve.apart.wire import LENGTHS, arrays_of, packed
from workloads.serve.datatypes import Array
from workloads.serve.transform.forms import POSTPROCESS, PREPROCESS, Unfit, fitted, tensors_of

MOST_WORDS = 500
MOST_CONTEXT = 256 << 10
Calls = Mapping[str, Callable[..., Any]]
Answer = tuple[dict[str, Any], list[memoryview]]


def main() -> None:
    """Run the callables for requests until the server is gone."""
    os.dup2(2, 1)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    connection = socket.socket(fileno=int(sys.argv[1]))
    threading.Thread(target=_end_with, args=(connection.fileno(),), daemon=True).start()
    setup = _frame(connection)
    if setup is None:
        return
    _bound(int(setup[0]["memory"]))
    if setup[0]["path"]:
        sys.path.insert(0, setup[0]["path"])
    calls, trouble = _imported(setup[0]["calls"])
    _send(connection, {"error": trouble} if trouble else {}, [])
    most = int(setup[0]["most"])
    while not trouble and (frame := _frame(connection)) is not None:
        said, parts = _answer(calls, *frame, most)
        del frame
        _send(connection, said, parts)
        if said.get("over"):
            return
        del said, parts


def _end_with(number: int) -> None:
    """End the process when the server is gone, whatever the callable does."""
    poll = select.poll()
    poll.register(number, 0)
    poll.poll()
    os._exit(0)


def _bound(memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):
        score.write_text("1000")  # before the server, where the kernel may choose
    if memory:
        status = Path("/proc/self/status").read_text()
        most = (int(status.partition("VmData:")[2].split()[0]) << 10) + memory
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _frame(connection: socket.socket) -> "tuple[Any, memoryview] | None":
    lengths = _exactly(connection, LENGTHS.size)
    if lengths is None:
        return None
    head, body = LENGTHS.unpack(lengths)
    said, payload = _exactly(connection, head), _exactly(connection, body)
    return (orjson.loads(said), payload) if said is not None and payload is not None else None


def _exactly(connection: socket.socket, size: int) -> memoryview | None:
    buffer = np.empty(size, dtype=np.uint8).data
    place = 0
    while place < size:
        got = connection.recv_into(buffer[place:])
        if not got:
            return None
        place += got
    return buffer


def _send(connection: socket.socket, said: dict[str, Any], parts: list[memoryview]) -> None:
    head = orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY)
    connection.sendall(LENGTHS.pack(len(head), sum(map(len, parts))) + head)
    for part in parts:
        connection.sendall(part)


def _imported(wanted: Mapping[str, str]) -> tuple[dict[str, Callable[..., Any]], str]:
    """The callables, or why one is not there."""
    calls: dict[str, Callable[..., Any]] = {}
    for step, name in wanted.items():
        module, _, rest = name.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in rest.split("."):
                found = getattr(found, part)
        except BaseException as error:
            traceback.print_exc()
            return {}, f"transform.{step} {name} cannot be imported: {_words(error)}"
        both = step == POSTPROCESS and not _unusable(found, 2)
        trouble = "" if both else _unusable(found, 1)
        if trouble:
            return {}, f"transform.{step} {name} {trouble}"
        calls[step] = found if both or step == PREPROCESS else _without_context(found)
    return calls, ""


def _without_context(found: Callable[..., Any]) -> Callable[..., Any]:
    return lambda outputs, _context: found(outputs)


def _unusable(found: Any, count: int) -> str:
    if not callable(found):
        return f"is no function but {type(found).__name__}"
    if inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
        return "is a coroutine or a generator: write a plain function"
    try:
        inspect.signature(found).bind(*[{}] * count)
    except TypeError as error:
        return f"does not take one dict of arrays: {error}"
    except ValueError:
        return ""  # written in C: nobody knows
    return ""


def _answer(calls: Calls, said: Mapping[str, Any], payload: memoryview, most: int) -> Answer:
    """Answer of a callable in one frame, whatever it does."""
    try:
        return _worked(calls, said, payload, most)
    except MemoryError:
        traceback.print_exc()
        words = f"the service's {said['step']} took more memory than transform.memory allows"
        return {"error": "TransformFailed", "words": words, "over": True}, []
    except Unfit as error:
        return {"error": "TransformFailed", "words": f"the service's {said['step']} {_writable(str(error))}"}, []
    except BaseException as error:
        if isinstance(error, ValueError) and said["step"] == PREPROCESS:
            return {"error": "Invalid", "words": f"preprocess: {_writable(str(error))}"}, []
        traceback.print_exc()
        kind = type(error).__name__
        words = f"the service's {said['step']} failed with {kind}: its traceback is in the server's log"
        return {"error": "TransformFailed", "words": words}, []


def _worked(calls: Calls, said: Mapping[str, Any], payload: memoryview, most: int) -> Answer:
    step, wanted = said["step"], tensors_of(said["wanted"])
    given = tensors_of(said["given"])
    arrays = [array for array in arrays_of(said, payload, given) if array is not None]
    named = {tensor.name: array for tensor, array in zip(given, arrays, strict=True)}
    context = None
    if step == PREPROCESS:
        found = calls[step](named)
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], Mapping):
            found, context = found
    else:
        found = calls[step](named, said["context"])
    answer = fitted(found, wanted)
    size = sum(map(_size, answer))
    if size > most:
        raise Unfit(f"gave {size} bytes, more than the {most} of protocol.maxBodyMiB")
    shaped, raws = packed(wanted, answer)
    return {**shaped, "context": _carried(context)}, raws


def _writable(words: str) -> str:
    """Words as JSON may hold them, no more than MOST_WORDS characters."""
    return words[:MOST_WORDS].encode(errors="replace").decode()


def _size(array: Array) -> int:
    """Bytes of an array on the wire, where texts have their ends before them."""
    return sum(len(text) + 8 for text in array.reshape(-1)) if array.dtype.kind == "O" else array.nbytes


def _carried(context: Any) -> Any:
    try:
        text = orjson.dumps(context, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError as error:
        raise Unfit(f"gave a context for postprocess that is not JSON: {error}") from error
    if len(text) > MOST_CONTEXT:
        raise Unfit(f"gave a context for postprocess of {len(text)} bytes: {MOST_CONTEXT} are carried")
    return orjson.Fragment(text)


def _words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {_writable(lines[0])}" if lines else type(error).__name__


if __name__ == "__main__":
    main()
