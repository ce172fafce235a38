"""Keep torchrun's rendezvous store beside node 0's agent: `rendezvous_store.py PORT COMMAND...` ends as COMMAND does.

A process of its own: torchrun's agents come and go, and the store has to outlive each of them.
"""

from __future__ import annotations

import datetime
import importlib
import signal
import subprocess
import sys
import time

# The others tell the store that they are done; a store that is gone by then makes good nodes end badly.
LINGER_SECONDS = 5.0


def main(arguments: list[str]) -> int:
    """Serve the store, run the command, pass signals on; returns the command's exit code."""
    port, command = int(arguments[0]), arguments[1:]
    distributed = importlib.import_module("torch.distributed")
    # It listens on all addresses, of both families; the name is for the client in this process.
    minute = datetime.timedelta(seconds=60)
    store = distributed.TCPStore("localhost", port, is_master=True, wait_for_workers=False, timeout=minute)
    child = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _: child.send_signal(got))
    code = child.wait()
    if code == 0:
        time.sleep(LINGER_SECONDS)
    del store
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
