"""Pictures that are decoded in another process: the same pixels, and nothing of them in the server's own."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.unit.serve.web.test_decoding import HOW, SMALL, encoded
from workloads.serve.errors import Invalid
from workloads.serve.web.pictures import decoding as module
from workloads.serve.web.pictures.decoding import Decoding
from workloads.serve.web.pictures.model_input import to_input


@pytest.mark.parametrize(("side", "least"), [(800, 0), (1600, 1_000_000)], ids=["medium", "large"])
async def test_a_larger_picture_is_decoded_in_a_process_as_a_small_one_is_on_a_thread(side, least, monkeypatch) -> None:
    """Threads of low priority that had the interpreter and no core kept everybody waiting for tens of milliseconds."""
    monkeypatch.setattr(module, "MEDIUM", least or module.MEDIUM)
    picture = encoded(Image.effect_mandelbrot((side, side // 2), (-2, -1, 1, 1), 100), "PNG")
    expected, ways = to_input([picture], HOW)
    decoding = Decoding(HOW)
    found, back = await decoding.to_input([picture, SMALL], ("a", 0), 60)
    np.testing.assert_array_equal(found[0], expected[0])
    assert back[0] == ways[0]
    with pytest.raises(Invalid, match="picture 2 cannot be read"):
        await decoding.to_input([SMALL, picture[: len(picture) // 2]], ("a", 0), 60)
    await decoding.close()


async def test_a_large_file_is_never_looked_at_in_the_servers_process(monkeypatch) -> None:
    """Bytes of a large picture file: copying and scanning them here would hold the interpreter."""
    monkeypatch.setattr(module, "if_small", lambda *_: pytest.fail("it was"))
    noise = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
    picture = encoded(Image.fromarray(noise), "BMP") + bytes(module.SMALL_FILE)
    decoding = Decoding(HOW)
    array, _ = await decoding.to_input([memoryview(picture)], ("a", 0), 60)
    assert array.shape == (1, 3, 224, 224)
    await decoding.close()
