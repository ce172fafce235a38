"""Check that a picture's file is built as cameras and programs build one. Done before Pillow opens it.

Pillow walks over chunks, segments and comments in Python, and decodes every scan of a JPEG: a file of nothing but those
holds a thread for minutes. Each check ends at its own bound.
"""

from workloads.serve.errors import Invalid

PNG, GIF, JPEG, BMP, RIFF = b"\x89PNG\r\n\x1a\n", (b"GIF87a", b"GIF89a"), b"\xff\xd8\xff", b"BM", b"RIFF"
# Encoders write data in chunks of some KiB; between them there may be metadata.
FEW_CHUNKS, BYTES_A_CHUNK = 1000, 512
MOST_SEGMENTS, MOST_HEAD, MOST_JUNK = 1000, 8 << 20, 64 << 10
MOST_SCANS = 64  # a progressive picture has about ten; its preview in the metadata has some of its own
MOST_BLOCKS = 4096  # of a GIF's comments and extensions before its first frame
START_OF_SCAN, ENTROPY, NO_MARKERS = b"\xff\xda", 0xDA, frozenset({0x00, 0xFF})
BMP_COMPRESSION, BMP_RUN_LENGTHS = 30, frozenset({b"\1", b"\2"})


def check(content: bytes) -> None:
    """Invalid in words for a file that costs more to walk over than a picture is worth."""
    if content.startswith(PNG):
        _png(content)
    elif content.startswith(JPEG):
        _jpeg(content)
    elif content.startswith(GIF):
        _gif(content)
    elif content.startswith(BMP) and content[BMP_COMPRESSION : BMP_COMPRESSION + 1] in BMP_RUN_LENGTHS:
        raise Invalid("a BMP with run lengths is not read here: send it as PNG")


def scans(content: bytes) -> int:
    """Scans of a JPEG, about: with more than one of them its coefficients are all in memory."""
    return content.count(START_OF_SCAN, 0)


def webp_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP, which Pillow's decoder takes memory for as soon as it is opened; None: no WebP."""
    if not content.startswith(RIFF) or content[8:12] != b"WEBP":
        return None
    kind, body = content[12:16], content[20:]
    if kind == b"VP8X" and len(body) >= 10:
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None


def png_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, which stand in its first bytes; None: no PNG."""
    if not content.startswith(PNG) or content[12:16] != b"IHDR" or len(content) < 24:
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def _png(content: bytes) -> None:
    place, left = len(PNG), FEW_CHUNKS + len(content) // BYTES_A_CHUNK
    while place + 8 <= len(content):
        left -= 1
        if left < 0:
            raise Invalid("the PNG is cut into too many chunks: save it anew")
        place += 12 + int.from_bytes(content[place : place + 4], "big")


def _jpeg(content: bytes) -> None:
    if scans(content) > MOST_SCANS:
        raise Invalid(f"the JPEG has more than {MOST_SCANS} scans: save it anew")
    place, junk = 2, 0
    for _ in range(MOST_SEGMENTS):
        marker = _marker(content, place)
        junk, place = junk + marker - place, marker
        if junk > MOST_JUNK or place > MOST_HEAD:
            raise Invalid("the JPEG has too much before its picture that belongs to none: save it anew")
        if place + 4 > len(content) or content[place + 1] == ENTROPY:
            return
        place += 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    raise Invalid(f"the JPEG has more than {MOST_SEGMENTS} segments before its picture: save it anew")


def _marker(content: bytes, place: int) -> int:
    """Place where the next marker begins. Before it there may be what a decoder skips byte by byte."""
    last = min(len(content) - 1, place + MOST_JUNK + 1)
    while place < last and (content[place] != 0xFF or content[place + 1] in NO_MARKERS):
        place += 1
    return place


def _gif(content: bytes) -> None:
    if len(content) < 13:
        return
    colours = content[10]
    place = 13 + (3 << (colours & 7) + 1 if colours & 0x80 else 0)
    left = MOST_BLOCKS
    while content[place : place + 1] == b"!":
        place += 2
        while place < len(content) and content[place]:
            place += 1 + content[place]
            left -= 1
            if left < 0:
                raise Invalid("the GIF has too many comments or extensions before its picture: save it anew")
        place += 1
        left -= 1
        if left < 0:
            raise Invalid("the GIF has too many comments or extensions before its picture: save it anew")
