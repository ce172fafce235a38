"""Answers of pods over the wire: whatever one sends, and however fast, the loop is never held, and the end is near."""

from __future__ import annotations

import asyncio
import gzip
import time
import tracemalloc

import pytest

from slipway.runtime.scraping.scrape import LARGEST, Scraper, ScrapeResult
from tests.unit.hostile.attackers import HEAD, Said, attacker, for_ever
from tests.unit.hostile.cost import LIMIT, longest_turn

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
PACKED = gzip.compress(b"a" * 2**26)
ATTACKS: dict[str, tuple[bytes | Said, str]] = {
    "a body without end": (for_ever(b"x" * 2**16, HEAD), "more than 262144 bytes"),
    "a head without end": (for_ever(b"a: b\r\n" * 1000, b"HTTP/1.1 200 OK\r\n"), "too long"),
    "a header without end": (for_ever(b"b" * 2**16, b"HTTP/1.1 200 OK\r\na: "), "too long"),
    "interim answers without end": (for_ever(b"HTTP/1.1 100 C\r\n\r\n" * 1000), "parts"),
    "chunks of one byte": (for_ever(b"1\r\nx\r\n" * 1000, CHUNKED), "parts"),
    "a chunk's extension without end": (for_ever(b"x" * 2**16, CHUNKED + b"1;"), "too long"),
    "trailers without end": (for_ever(b"a: b\r\n" * 1000, CHUNKED + b"0\r\n"), "too long"),
    "a chunk longer than any": (CHUNKED + b"f" * 300, ""),
    "a length longer than any": (b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 4000 + b"\r\n\r\n", ""),
    "empty lines": (for_ever(b"\r\n" * 1000), ""),
    "noise": (bytes(range(256)) * 16, ""),
    "a packed bomb": (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + PACKED, "packed as gzip"),
    "a redirect": (b"HTTP/1.1 302 F\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
    "another protocol": (b"HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + b"x" * 9999, ""),
    "nothing": (b"", ""),
    "half an answer": (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", ""),
}


async def answer_of(scraper: Scraper, url: str, namespace: str = "team") -> ScrapeResult[int]:
    answered: asyncio.Future[ScrapeResult[int]] = asyncio.get_running_loop().create_future()
    assert scraper.ask(url, namespace, {"it": url}, len, lambda pages: answered.set_result(pages["it"]))
    return await answered


@pytest.mark.parametrize("name", ATTACKS)
async def test_no_answer_holds_the_loop_or_lasts(name: str) -> None:
    said, words = ATTACKS[name]
    scraper, turns = Scraper(timeout=2), []
    with attacker(said) as url:
        for _ in range(8):
            page: asyncio.Task[ScrapeResult[int]] = asyncio.ensure_future(answer_of(scraper, f"{url}/metrics"))
            turns.append(await longest_turn(page))
            assert words in page.result().error
            assert page.result().error, "nobody is told of what is no answer"
            if turns[-1] < LIMIT:
                break
    assert min(turns) < LIMIT
    await scraper.close()


async def test_forty_of_them_at_once_get_one_turn_together() -> None:
    """Each a little is much: one iteration of the loop takes in one piece of all that came."""
    turns = []
    with attacker(for_ever(b"1\r\nx\r\n" * 1000, CHUNKED)) as url:
        for _ in range(8):
            scraper = Scraper(timeout=5, share=64)
            pages = [answer_of(scraper, f"{url}/{i}") for i in range(40)]
            turns.append(await longest_turn(asyncio.gather(*pages)))
            await scraper.close()
            if turns[-1] < LIMIT:
                break
    assert min(turns) < LIMIT


async def test_who_drips_is_given_up_in_time() -> None:
    scraper = Scraper(timeout=0.5)
    with attacker(for_ever(b"x", HEAD), pause=0.05) as url:
        began = time.monotonic()
        page = await answer_of(scraper, url)
    assert "no whole answer within 0.5 s" in page.error
    assert time.monotonic() - began < 10
    await scraper.close()


async def test_those_who_keep_waiting_keep_only_their_own_namespace_waiting() -> None:
    scraper = Scraper(timeout=30, share=2)
    with attacker(for_ever(b"", b""), pause=1) as slow, attacker(HEAD + b"good") as good:
        theirs = [asyncio.ensure_future(answer_of(scraper, f"{slow}/{i}", "theirs")) for i in range(20)]
        await asyncio.sleep(0)
        assert (await answer_of(scraper, good, "mine")).said == 4
        assert not any(task.done() for task in theirs)
        for task in theirs:
            task.cancel()
        await scraper.close()


async def test_pages_are_not_kept() -> None:
    """A service of many pods: what is read out of a page stays, and the page goes."""
    scraper, count = Scraper(timeout=30, share=4), 100
    with attacker(HEAD + b"x" * (LARGEST - 1)) as url:
        urls = {str(i): f"{url}/{i}" for i in range(count)}
        answered: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        tracemalloc.start()
        scraper.ask("all", "team", urls, len, answered.set_result)
        pages = await answered
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert pages == {name: ScrapeResult(LARGEST - 1) for name in urls}
    assert peak < count * LARGEST / 4
    await scraper.close()
