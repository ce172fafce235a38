"""Names of a release's images: PREFIX/NAME:TAG, or PREFIX/NAME@DIGEST.

The prefix is the user's own registry. Until it is set it is a host of RFC 2606's `.invalid`, which no resolver knows: a
name without a host would be whoever's has it at Docker Hub.
"""

from slipway import __version__

UNSET = "registry.invalid/slipway"
NAMES = ("operator", "trainer", "quantizer", "server")


def reference(name: str, prefix: str = UNSET, tag: str = __version__) -> str:
    """The image of this release. `tag`: or a digest, `sha256:...`."""
    return f"{prefix}/{name}{'@' if ':' in tag else ':'}{tag}"
