"""Models inside packages of PyPI, quantized with default settings, beside what other quantizers make of them."""
