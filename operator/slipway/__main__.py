"""`python -m slipway`: run the operator until it is told to stop."""

import sys

# Clients of other make whose objects kopf would know from its own: it imports the whole of each that is installed,
# which takes as long as all the rest. None of their objects ever comes here.
STRANGE_CLIENTS = ("kubernetes", "kubernetes_asyncio", "pykube")


def run() -> None:
    """Entry point: `slipway.main.run`, with none of the clients that kopf looks for."""
    # None is how an import is refused.
    sys.modules.update(dict.fromkeys(STRANGE_CLIENTS))  # type: ignore[arg-type]
    from slipway import main

    main.run()


if __name__ == "__main__":
    run()
