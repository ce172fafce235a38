"""The value of Server-Timing, as browsers and proxies read it: milliseconds by name. Pure."""

MILLISECONDS = 1000
NAMES = (b"queue", b"compute", b"preprocess", b"postprocess")


def server_timing(timing: tuple[float, ...] | None, seconds: float | None = None) -> bytes:
    """An inference's NAMES in seconds, as many as are known; `seconds` of all of it where that is known."""
    parts = []
    if timing is not None:
        parts += [b"%b;dur=%.3f" % (name, one * MILLISECONDS) for name, one in zip(NAMES, timing, strict=False)]
    if seconds is not None:
        parts.append(b"total;dur=%.3f" % (seconds * MILLISECONDS))
    return b", ".join(parts)
