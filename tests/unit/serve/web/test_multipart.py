"""Forms as clients of other languages send them: quoted or not, with a file's name or without one."""

from __future__ import annotations

import pytest

from workloads.serve.errors import Invalid
from workloads.serve.web.multipart import Part, parts
from workloads.serve.web.texts import from_parts

NAMED = b'Content-Disposition: form-data; name="file"\r\n'
TYPE = b"multipart/form-data; boundary=b"


def form(*heads: bytes) -> bytes:
    return b"".join(b"--b\r\n" + head + b"\r\n\r\ncontent\r\n" for head in heads) + b"--b--\r\n"


async def only(head: bytes) -> Part:
    (part,) = await parts(TYPE, form(head))
    assert bytes(part.content) == b"content"
    return part


FILES = {
    "curl -F": b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png',
    ".NET, which quotes nothing": b"Content-Disposition: form-data; name=file; filename=a.png; filename*=utf-8''a.png",
    ".NET, another order": b"Content-Disposition: form-data; filename=a.png; name=file",
    "Spring's bytes, without a name": NAMED + b"Content-Type: application/octet-stream",
    "OkHttp's bytes, of a type": NAMED + b"Content-Type: image/jpeg\r\nContent-Length: 7",
    "headers in small letters": b'content-disposition: form-data; name="file"; filename="x"\r\ncontent-type: image/png',
    "a name with another in it": b'Content-Disposition: form-data; filename="name=other.png"; name="file"',
}


@pytest.mark.parametrize("client", FILES)
async def test_a_file_is_one_whatever_its_client_says_of_its_name(client: str) -> None:
    part = await only(FILES[client])
    assert (part.name, part.file) == ("file", True)


FIELDS = {
    "a field": b'Content-Disposition: form-data; name="text"',
    "a field of a type": b'Content-Disposition: form-data; name="text"\r\nContent-Type: text/plain; charset=utf-8',
    "a field that is not quoted": b"Content-Disposition: form-data; name=text\r\nContent-Type: text/plain",
}


@pytest.mark.parametrize("client", FIELDS)
async def test_a_field_is_no_file_and_a_text_by_its_name(client: str) -> None:
    part = await only(FIELDS[client])
    assert not part.file
    found = from_parts([part])
    assert found is not None
    assert found.texts == ["content"]


@pytest.mark.parametrize("charset", [b"", b"; charset=utf-8", b";charset=UTF-8"])
async def test_a_file_of_text_is_one_whatever_its_charset(charset: bytes) -> None:
    head = b'Content-Disposition: form-data; name="file"; filename="a.txt"\r\nContent-Type: text/plain' + charset
    found = from_parts([await only(head)])
    assert found is not None
    assert found.texts == ["content"]


@pytest.mark.parametrize(
    "content_type", [b"multipart/form-data", b'multipart/form-data; boundary=""', b"multipart/mixed; boundary=b"]
)
async def test_a_form_without_a_boundary_is_refused(content_type: bytes) -> None:
    with pytest.raises(Invalid, match="boundary"):
        await parts(content_type, form(FILES["curl -F"]))
