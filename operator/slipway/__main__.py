"""`python -m slipway`: run the operator until it is told to stop."""

from slipway.main import run

if __name__ == "__main__":
    run()
