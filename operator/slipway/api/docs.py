"""Entry point of `python -m` for the reference pages, whose code is in codegen/docs.py."""

import sys

from slipway.api.codegen.docs import main

if __name__ == "__main__":
    sys.exit(main())
