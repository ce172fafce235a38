"""Contents of a gRPC message before it is made into objects: a walk over its fields' lengths.

Two bytes on the wire become a message of a hundred: so each field may come as often as the model can need it.
"""

from collections.abc import Iterator

from workloads.serve.errors import Invalid, TooLarge
from workloads.serve.signature import Signature

# Numbers of ModelInferRequest's fields, of its inputs', and of their contents'.
NAME, VERSION, PARAMETERS, INPUTS, OUTPUTS, RAW = 1, 2, 4, 5, 6, 7
CONTENTS, TEXTS = 5, 8
RAW_OUTPUT = 6  # of ModelInferResponse
VARINT, EIGHT, LENGTH, FOUR = 0, 1, 2, 5
MOST_PARAMETERS = 1024
# Of the message itself, those that nobody knows as well: the walk over them is on the event loop.
MOST_FIELDS = 4096
MOST_TEXTS = 1 << 20
NOT_A_MESSAGE = "the message is no ModelInferRequest"


def model_of(message: memoryview) -> tuple[str, str]:
    """Name and version of the model that it is for."""
    said = {NAME: "", VERSION: ""}
    for field, start, end in _few(message):
        if field in said:
            said[field] = bytes(message[start:end]).decode(errors="replace")
        elif field > VERSION and said[NAME]:
            break
    return said[NAME], said[VERSION]


def raw_bytes(message: memoryview, signature: Signature) -> int:
    """Bytes of tensors that lie in it as they are. Invalid when there is more beside them than a request can need.

    It looks into no input: a million texts are a million steps.
    """
    most = {INPUTS: len(signature.inputs), RAW: len(signature.inputs), OUTPUTS: len(signature.outputs)}
    seen = dict.fromkeys((*most, PARAMETERS), 0)
    raw = 0
    for field, start, end in _few(message):
        if field not in seen:
            continue
        seen[field] += 1
        if seen[field] > most.get(field, MOST_PARAMETERS):
            raise Invalid("the request has more inputs, outputs or parameters than the model has")
        if field == RAW:
            raw += end - start
    return raw


def check(message: memoryview, signature: Signature) -> None:
    """Invalid or TooLarge for a message that holds more than a request can need; a walk over all of it."""
    raw_bytes(message, signature)
    for field, start, end in _few(message):
        if field == INPUTS:
            _check_input(message[start:end])


def in_place(message: memoryview) -> tuple[bytes, list[memoryview]]:
    """The message without its raw tensors, and these where they lie: parsing them would copy each twice."""
    rest, raws, place = [], [], 0
    for field, start, end in _few(message):
        if field == RAW:
            raws.append(message[start:end])
        else:
            rest.append(message[place:end])
        place = end
    return b"".join(rest), raws


def _check_input(one: memoryview) -> None:
    texts = parameters = 0
    for field, start, end in _fields(one):
        parameters += field == PARAMETERS
        if parameters > MOST_PARAMETERS:
            raise Invalid("an input has too many parameters")
        if field == CONTENTS:
            for kind, _, _ in _fields(one[start:end]):
                texts += kind == TEXTS
                if texts > MOST_TEXTS:
                    raise TooLarge(f"an input has more than {MOST_TEXTS} texts: send them in raw_input_contents")


def _few(message: memoryview) -> Iterator[tuple[int, int, int]]:
    for number, found in enumerate(_fields(message)):
        if number >= MOST_FIELDS:
            raise Invalid(f"the message has more than {MOST_FIELDS} fields")
        yield found


def _fields(message: memoryview) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of each field that has a length; others are passed over."""
    place, size = 0, len(message)
    while place < size:
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == LENGTH:
            length, place = _varint(message, place)
            if place + length > size:
                raise Invalid(NOT_A_MESSAGE)
            yield tag >> 3, place, place + length
            place += length
        elif kind == VARINT:
            _, place = _varint(message, place)
            yield tag >> 3, place, place
        elif kind in {EIGHT, FOUR}:
            place += 8 if kind == EIGHT else 4
            yield tag >> 3, place, place
        else:
            raise Invalid(NOT_A_MESSAGE)


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise Invalid(NOT_A_MESSAGE)
