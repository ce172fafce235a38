"""The value of Server-Timing, as browsers and proxies read it: milliseconds by name. Pure."""

MILLISECONDS = 1000


def server_timing(timing: tuple[float, float] | None, seconds: float | None = None) -> bytes:
    """Queue and compute of an inference, in seconds, where there was one; `seconds` of all of it where it is known."""
    parts = []
    if timing is not None:
        parts += [b"queue;dur=%.3f" % (timing[0] * MILLISECONDS), b"compute;dur=%.3f" % (timing[1] * MILLISECONDS)]
    if seconds is not None:
        parts.append(b"total;dur=%.3f" % (seconds * MILLISECONDS))
    return b", ".join(parts)
