"""Entry point of `python -m` for the CRDs, whose code is in codegen/crd.py."""

import sys

from slipway.api.codegen.crd import main

if __name__ == "__main__":
    sys.exit(main())
