"""Huffman code of HPACK (RFC 7541, appendix B). Pure; used by hpack.py.

The code is canonical, so the lengths of its words say all of it. Four bits are decoded at a time.
"""

from functools import lru_cache

# Bits of the word of each byte, and of the end of a string, which never comes.
LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b0a0a080b080606060505050606060606"
    "060607080f060c0a0d06070707070707070707070707070707070707070707070807080d130d0e060f050605060506060605070706060605"
    "06070605050607070707070f0b0e0d1c14161414161616171617171717171817181816171817171717151617161717181615141616171715"
    "1716161815161717151516151716171714161616171616171a1a1413161716191a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b"
    "14181415161515171616191918181a171a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
END = len(LENGTHS) - 1
# Padding is less than a byte of ones.
LONGEST_PADDING = 7
REMEMBERED = 64  # bytes of a string that is


class BadCode(ValueError):  # noqa: N818  (what is bad is what was sent)
    """Error of a string that is not of this code."""


class _Node:
    """Branch of the tree: what follows on a 0 and on a 1, each a branch or a byte."""

    __slots__ = ("depth", "next", "ones")

    def __init__(self, depth: int, ones: bool) -> None:
        self.next: list[_Node | int | None] = [None, None]
        self.depth, self.ones = depth, ones


def _tree() -> list[_Node]:
    """All branches, the root first."""
    nodes = [_Node(0, True)]
    code = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(LENGTHS)):
        code <<= length - before
        before, node = length, nodes[0]
        for place in range(length - 1, 0, -1):
            bit = code >> place & 1
            follows = node.next[bit]
            if not isinstance(follows, _Node):
                follows = node.next[bit] = _Node(node.depth + 1, node.ones and bit == 1)
                nodes.append(follows)
            node = follows
        node.next[code & 1] = symbol
        code += 1
    return nodes


Step = tuple[int, bytes] | None


def _steps() -> tuple[list[tuple[Step, ...]], list[bool]]:
    """Table by branch and four bits: the branch after them and what they have completed; where a string may end."""
    nodes = _tree()
    numbers = {node: number for number, node in enumerate(nodes)}

    def step(node: _Node, bits: int) -> Step:
        out = b""
        for place in (3, 2, 1, 0):
            follows = node.next[bits >> place & 1]
            if isinstance(follows, _Node):
                node = follows
                continue
            if follows is None or follows == END:
                return None
            out += bytes([follows])
            node = nodes[0]
        return numbers[node], out

    steps = [tuple(step(node, bits) for bits in range(16)) for node in nodes]
    return steps, [node.ones and node.depth <= LONGEST_PADDING for node in nodes]


_STEPS, _MAY_END = _steps()


def decode(data: bytes) -> bytes:
    """Text of a coded string. BadCode for what is none."""
    return _remembered(data) if len(data) <= REMEMBERED else _decoded(data)


def _decoded(data: bytes) -> bytes:
    state, out = 0, []
    for byte in data:
        for bits in (byte >> 4, byte & 15):
            step = _STEPS[state][bits]
            if step is None:
                raise BadCode("not a string of HPACK's code")
            state, done = step
            if done:
                out.append(done)
    if not _MAY_END[state]:
        raise BadCode("a string of HPACK's code that is not whole")
    return b"".join(out)


_remembered = lru_cache(1024)(_decoded)
