"""Names of a release's images: PREFIX/NAME:TAG, or PREFIX/NAME@DIGEST.

The prefix is the user's own registry. Until it is set it is a host of RFC 2606's `.invalid`, which no resolver knows: a
name without a host would be whoever's has it at Docker Hub.
"""

from slipway import __version__

UNSET = "registry.invalid/slipway"
NAMES = ("operator", "trainer", "quantizer", "server")


class OddNameError(ValueError):
    """Error of an operator's image that is not called PREFIX/operator: where the others are cannot be told from it."""


def reference(name: str, prefix: str = UNSET, tag: str = __version__) -> str:
    """The image of this release. `tag`: or a digest, `sha256:...`."""
    return f"{prefix}/{name}{'@' if ':' in tag else ':'}{tag}"


def resolve(name: str, given: str, own: str) -> str:
    """The image to use: `given` where one is; else beside `own`, the operator's image, with the tag of that.

    So a kustomization that sets the operator's image has set all of them. A digest is of one image only: beside
    PREFIX/operator@sha256:... the others are those of this release. Raises OddNameError.
    """
    if given and not given.startswith(f"{UNSET}/"):
        return given
    if not own or own.startswith(f"{UNSET}/"):
        return given or reference(name)
    prefix, _, last = own.partition("@")[0].rpartition("/")
    repository, _, tag = last.partition(":")
    if repository != "operator" or not prefix:
        raise OddNameError(f"{own} does not end in /operator, so the {name}'s image cannot be told from it")
    return reference(name, prefix, tag or __version__)
