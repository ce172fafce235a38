"""Header blocks (RFC 7541): read with their dynamic table, written without one. Pure; one Decoder per connection."""

from collections import deque

from workloads.serve.http2.huffman import BadCode, decode

Header = tuple[bytes, bytes]

TABLE_BYTES = 4096  # what every client may use; nothing else is offered
ENTRY_BYTES = 32  # of the table's, beside name and value
# Bytes of all headers of a block, and how many there are: one byte of a block may stand for four thousand.
LIST_BYTES, LIST_LENGTH = 16 << 10, 256
# What follows is read for the table's sake alone, which later blocks need: so many entries, and bytes of them.
WALKED, DECODED = 2048, 32 << 10
MOST_BITS = 30  # of a coded byte
# Stands behind the first headers of a block that has more than a call may have. No client may send such a name.
TOO_LONG: Header = (b":too-long", b"")
KEPT_BLOCKS = 64
NO_TABLE = b"\x20"  # the table that is written with has no place: before the first block after a client asks for less


def _static() -> tuple[Header, ...]:
    names = (
        "accept-charset accept-encoding accept-language accept-ranges accept access-control-allow-origin age allow "
        "authorization cache-control content-disposition content-encoding content-language content-length "
        "content-location content-range content-type cookie date etag expect expires from host if-match "
        "if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards "
        "proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie "
        "strict-transport-security transfer-encoding user-agent vary via www-authenticate"
    )
    first = (
        ":authority= :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200 "
        ":status=204 :status=206 :status=304 :status=400 :status=404 :status=500"
    )
    pairs = [tuple(one.encode().split(b"=")) for one in first.split()]
    pairs += [(name.encode(), b"gzip, deflate" if name == "accept-encoding" else b"") for name in names.split()]
    return tuple((name, value) for name, value in pairs)


STATIC = _static()


class BadBlock(ValueError):  # noqa: N818  (what is bad is what was sent)
    """Error of what is not a block of headers, or one of too many: no later block can be read either."""


def _number(block: bytes, place: int, bits: int) -> tuple[int, int]:
    """Integer with a prefix of so many bits, and the place behind it."""
    most = (1 << bits) - 1
    value = block[place] & most
    place += 1
    if value < most:
        return value, place
    shift = 0
    while True:
        byte = block[place]
        place += 1
        value += (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, place
        if shift > 28:
            raise BadBlock("a number of a header block is too large")


def _text(block: bytes, place: int) -> tuple[bytes, int]:
    coded = block[place] & 128
    length, place = _number(block, place, 7)
    end = place + length
    if end > len(block):
        raise BadBlock("a header block ends within a string")
    data = block[place:end]
    return (decode(data) if coded else data), end


def _behind(block: bytes, place: int) -> int:
    """Place behind a string, which is not read."""
    length, place = _number(block, place, 7)
    if place + length > len(block):
        raise BadBlock("a header block ends within a string")
    return place + length


class Decoder:
    """Reads the blocks of one connection, in order."""

    def __init__(self) -> None:
        self._table: deque[Header] = deque()
        self._bytes = 0
        self._most = TABLE_BYTES
        # Clients send the same block with most calls: it means the same for as long as the table is the same.
        self._known: dict[bytes, tuple[Header, ...]] = {}

    def headers(self, block: bytes) -> tuple[Header, ...]:
        """Headers of a whole block; of one that holds too much the first ones, and TOO_LONG.

        BadBlock when it cannot be read, or holds so much that nobody would want to.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            found, changed = self._read(block)
        except (IndexError, BadCode) as error:
            raise BadBlock(str(error) or "a header block is not whole") from None
        if changed:
            self._known.clear()
        else:
            if len(self._known) >= KEPT_BLOCKS:
                self._known.clear()
            self._known[block] = found
        return found

    def _read(self, block: bytes) -> tuple[tuple[Header, ...], bool]:
        found: list[Header] = []
        place, total, changed = 0, 0, False
        while place < len(block):
            first = block[place]
            if first & 128:
                number, place = _number(block, place, 7)
                header = self._entry(number)
            elif first & 224 == 32:
                size, place = _number(block, place, 5)
                if found or size > TABLE_BYTES:
                    raise BadBlock("a header block changes the table where it may not")
                self._most, changed = size, True
                self._shrink()
                continue
            else:
                header, place = self._literal(block, place, 6 if first & 64 else 4)
                if first & 64:
                    self._add(header)
                    changed = True
            found.append(header)
            total += len(header[0]) + len(header[1]) + ENTRY_BYTES
            if total > LIST_BYTES or len(found) > LIST_LENGTH:
                self._walk(block, place)
                return (*found[:-1], TOO_LONG), True
        return tuple(found), changed

    def _walk(self, block: bytes, place: int) -> None:
        """Do with the table what the rest of a block does with it."""
        walked = decoded = 0
        while place < len(block):
            walked += 1
            if walked > WALKED or decoded > DECODED:
                raise BadBlock(f"the headers have far more than {LIST_BYTES} bytes, or are far more than {LIST_LENGTH}")
            first = block[place]
            if first & 128:
                number, place = _number(block, place, 7)
                self._entry(number)
            elif first & 224 == 32:
                raise BadBlock("a header block changes the table where it may not")
            else:
                number, strings = _number(block, place, 6 if first & 64 else 4)
                end = _behind(block, strings if number else _behind(block, strings))
                if first & 64:
                    decoded += self._keep(block, place, end)
                place = end

    def _keep(self, block: bytes, place: int, end: int) -> int:
        """Add an entry to the table. Bytes that were decoded for it: none of one that cannot have room there."""
        if (end - place) * 8 > TABLE_BYTES * MOST_BITS:
            self._table.clear()
            self._bytes = 0
            return 0
        header, _ = self._literal(block, place, 6)
        self._add(header)
        return len(header[0]) + len(header[1])

    def _literal(self, block: bytes, place: int, bits: int) -> tuple[Header, int]:
        number, place = _number(block, place, bits)
        if number:
            name = self._entry(number)[0]
        else:
            name, place = _text(block, place)
        value, place = _text(block, place)
        return (name, value), place

    def _entry(self, number: int) -> Header:
        if 0 < number <= len(STATIC):
            return STATIC[number - 1]
        place = number - len(STATIC) - 1
        if number < 1 or place >= len(self._table):
            raise BadBlock("a header block names an entry that is not there")
        return self._table[place]

    def _add(self, header: Header) -> None:
        self._table.appendleft(header)
        self._bytes += len(header[0]) + len(header[1]) + ENTRY_BYTES
        self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._most:
            name, value = self._table.pop()
            self._bytes -= len(name) + len(value) + ENTRY_BYTES


def literal(name: bytes, value: bytes) -> bytes:
    """One header as bytes that no table is needed for."""
    return b"\x00%b%b%b%b" % (_length(len(name)), name, _length(len(value)), value)


def _length(length: int) -> bytes:
    if length < 127:
        return bytes([length])
    out, rest = [127], length - 127
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])
