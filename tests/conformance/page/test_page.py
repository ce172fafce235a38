"""The page at /, in a real browser: a picture in, label and bars out; a load in, plots out; nothing from elsewhere."""

from __future__ import annotations

import asyncio
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conformance.page.browser import Browser, chromium
from tests.conformance.server import Server
from tests.needs import need
from tests.unit.serve.artifacts import LABELS, detector, small_cnn, vowels


@pytest.fixture(scope="module", autouse=True)
def browser_is_there() -> None:
    need("chromium", chromium())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    artifact, _ = small_cnn(folder / "digits")
    server = Server(folder / "log", "--model", str(artifact), "--threads", "1").wait()
    yield server
    assert server.stop() == 0


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "digit.png"
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (12, 10), dtype=np.uint8)).save(path)
    return path


async def test_the_page_in_a_browser(digits, picture: Path, tmp_path: Path) -> None:
    content = await asyncio.to_thread(picture.read_bytes)
    said = digits.ask("POST", "/predict", content, {"Content-Type": "image/png"}).json["predictions"][0]
    async with Browser(tmp_path / "profile") as browser:
        await browser.call("Page.navigate", url=f"http://127.0.0.1:{digits.port}/")
        await browser.until("document.getElementById('name')?.textContent === 'digits'")
        assert await browser.run("document.getElementById('about').textContent") == "image-classification · torch"
        await browser.choose("#file", picture)
        await browser.until("document.querySelectorAll('#answer td.number').length === 5")
        rows = await browser.run("[...document.querySelectorAll('#answer tr')].map(r => r.cells[0].textContent)")
        assert rows == [one["label"] for one in said["top"]]
        assert await browser.run("document.querySelector('#answer td.number').textContent") == (
            f"{said['probability'] * 100:.1f} %"
        )
        assert "engine" in await browser.run("document.getElementById('timing').textContent")

        await browser.run("document.getElementById('count').value = 60; document.getElementById('load').click()")
        await browser.until("document.getElementById('summary').textContent.includes('p99')")
        assert await browser.run("document.querySelectorAll('#latency circle').length") == 60
        assert await browser.run("document.querySelectorAll('#batches rect').length") >= 1
        assert "failed" not in await browser.run("document.getElementById('summary').textContent")
        if "SLIPWAY_SCREENSHOT" in os.environ:
            await browser.picture(Path(os.environ["SLIPWAY_SCREENSHOT"]))

        await browser.run("document.getElementById('rows').value = '{\"rows\": [[1]]}'")
        await browser.run("document.getElementById('send').click()")
        await browser.until("document.getElementById('error').textContent.startsWith('400: ')")
        assert [
            url for url in browser.urls if not url.startswith((f"http://127.0.0.1:{digits.port}/", "data:", "blob:"))
        ] == []
        assert [problem for problem in browser.problems if "400" not in problem] == []


async def test_a_text_field_for_a_model_of_texts(tmp_path: Path) -> None:
    """And none for any other; a text goes in as it is typed, and its label comes out."""
    server = Server(tmp_path / "log", "--model", str(vowels(tmp_path / "vowels")), "--threads", "1").wait()
    try:
        async with Browser(tmp_path / "profile") as browser:
            await browser.call("Page.navigate", url=f"http://127.0.0.1:{server.port}/")
            await browser.until("document.getElementById('name')?.textContent === 'vowels'")
            seen = "['bytext', 'drop', 'byrows'].map(id => document.getElementById(id).checkVisibility())"
            assert await browser.run(seen) == [True, False, True]
            await browser.run("document.getElementById('text').value = 'aaa \"\\u{1f600}\\n'")
            await browser.run("document.getElementById('sendtext').click()")
            await browser.until("document.querySelectorAll('#answer td.number').length === 2")
            assert await browser.run("document.querySelector('#answer td').textContent") == "many"
            assert "tokens were read" in await browser.run("document.getElementById('error').textContent")
    finally:
        assert server.stop() == 0


def test_the_page_may_load_nothing_from_elsewhere(digits) -> None:
    page = digits.ask("GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert b'src="http' not in page.body
    assert b"//cdn" not in page.body


def png(size=(8, 8), mode="L") -> bytes:
    sink = io.BytesIO()
    Image.new(mode, size, 128).save(sink, "PNG")
    return sink.getvalue()


def test_pictures_of_any_kind_and_number(digits) -> None:
    for content, kind in ((png(), "image/png"), (png((300, 200), "RGB"), "image/png"), (png(mode="RGBA"), "")):
        answer = digits.ask("POST", "/predict", content, {"Content-Type": kind or "application/octet-stream"})
        assert answer.status == 200, answer.body
        one = answer.json["predictions"][0]
        assert one["label"] in LABELS
        assert sum(top["probability"] for top in one["top"]) <= 1.0001
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        + png()
        + b"\r\n"
        for _ in range(3)
    )
    answer = digits.ask("POST", "/predict", body + b"--b--\r\n", {"Content-Type": 'multipart/form-data; boundary="b"'})
    assert len(answer.json["predictions"]) == 3


def test_a_picture_is_prepared_as_the_artifact_says(digits) -> None:
    """The same pixels by hand through the protocol give the same probabilities."""
    pixels = np.random.default_rng(2).integers(0, 255, (8, 8), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    said = digits.ask("POST", "/predict", sink.getvalue(), {"Content-Type": "image/png"}).json["predictions"][0]
    data = ((pixels / 255 - 0.3) / 0.4).astype(np.float32).reshape(-1).tolist()
    asked = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": data}]}
    logits = np.array(digits.infer(asked).json["outputs"][0]["data"], dtype=np.float64)
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    assert said["index"] == int(expected.argmax())
    assert said["probability"] == pytest.approx(float(expected.max()), abs=1e-5)


BOMB = png().replace((8).to_bytes(4, "big") + (8).to_bytes(4, "big"), (60000).to_bytes(4, "big") * 2)


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "image/png", 400),
        (b"not a picture", "image/png", 400),
        (png()[:40], "image/png", 400),
        (BOMB, "image/png", 400),
        (b"{}", "application/json", 400),
        (b"{", "application/json", 400),
        (b'{"rows": []}', "application/json", 400),
        (b'{"rows": [[1, null]]}', "application/json", 400),
        (b'{"rows": ' + b"[" * 900 + b"]" * 900 + b"}", "application/json", 400),
        (png(), "text/plain", 415),
        (png(), "multipart/form-data", 400),
        (b"--b\r\n", "multipart/form-data; boundary=b", 400),
        (b"--b--\r\n", "multipart/form-data; boundary=b", 400),
        (b"--b\r\nno headers--b--", "multipart/form-data; boundary=b", 400),
    ],
    ids=range(14),
)
def test_bad_pictures_and_rows_are_4xx_in_words(digits, content: bytes, kind: str, status: int) -> None:
    answer = digits.ask("POST", "/predict", content, {"Content-Type": kind})
    assert (answer.status, list(answer.json)) == (status, ["error"]), answer.body
    assert digits.ask("GET", "/v2/health/ready").status == 200


def test_a_detector_finds_boxes_in_the_picture_that_was_sent(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", "--model", str(detector(tmp_path / "cats")), "--threads", "1").wait()
    try:
        answer = server.ask("POST", "/predict", png((640, 320)), {"Content-Type": "image/png"}).json
        assert answer["predictions"] == [
            {"objects": [{"label": "cat", "index": 0, "score": 0.75, "box": [160.0, 80.0, 480.0, 240.0]}]}
        ]
        assert server.ask("GET", "/predict").json["task"] == "object-detection"
    finally:
        assert server.stop() == 0


def test_rows_give_what_the_protocol_gives(digits) -> None:
    rows = np.random.default_rng(3).random((2, 1, 8, 8)).round(4).tolist()
    answer = digits.ask(
        "POST", "/predict", str({"rows": rows}).replace("'", '"').encode(), {"Content-Type": "application/json"}
    )
    assert [one["label"] in LABELS for one in answer.json["predictions"]] == [True, True]
    assert answer.json["timing"]["batchRows"] >= 2
