"""Text of answers: the same however tokens and pieces come, no character in halves, stop strings across borders."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.serve.generation.answer import Answer
from workloads.serve.generation.messages import Piece
from workloads.serve.generation.openai.replies import Choice
from workloads.serve.generation.text.detokenizer import HELD, Detokenizer
from workloads.serve.generation.text.stop_strings import StopStrings


def byte_level():
    """A byte-level tokenizer without merges: every byte is a token of its own, an emoji is four."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={one: number for number, one in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    return made


def metaspace():
    """Words with their space before, and bytes for what no word holds, as Llama 2's and Gemma's."""
    from tokenizers import Tokenizer, decoders, models

    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁the", "▁cat", "s", "é"]
    made = Tokenizer(models.BPE(vocab={one: n for n, one in enumerate(words)}, merges=[], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return made


BYTES, WORDS = byte_level(), metaspace()


def spoken(tokenizer, tokens) -> list[str]:
    detokenizer = Detokenizer(lambda ids: tokenizer.decode(list(ids)))
    return [*(detokenizer.add(token) for token in tokens), detokenizer.end()]


@given(st.text())
def test_a_text_comes_back_whole_and_no_character_in_halves(text: str) -> None:
    parts = spoken(BYTES, BYTES.encode(text).ids)
    assert "".join(parts) == text
    assert "\ufffd" in text or not any("\ufffd" in part for part in parts)


def test_an_emoji_over_four_tokens_comes_with_the_last() -> None:
    assert spoken(BYTES, BYTES.encode("a🎉b").ids) == ["a", "", "", "", "🎉", "b", ""]


def test_half_an_emoji_at_the_end_is_told_at_the_end() -> None:
    assert spoken(BYTES, BYTES.encode("a🎉").ids[:-1])[-1] == "\ufffd"


@given(st.lists(st.integers(0, 255), max_size=60))
def test_bytes_that_are_no_text_hold_nothing_back_for_ever(tokens: list[int]) -> None:
    parts = spoken(BYTES, tokens)
    silent = [bool(part) for part in parts[:-1]]
    assert "0" * HELD not in "".join(str(int(one)) for one in silent)
    assert sum(map(len, parts)) >= len(tokens) / 4


def test_words_keep_their_spaces() -> None:
    tokens = [WORDS.token_to_id(one) for one in ("▁the", "▁cat", "s", "▁", "<0xF0>", "<0x9F>", "<0x8E>", "<0x89>")]
    assert "".join(spoken(WORDS, tokens)) == WORDS.decode(tokens) == "the cats 🎉"


STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


def scanned(stops, pieces) -> tuple[str, bool]:
    scanner, text = StopStrings(stops), ""
    for piece in pieces:
        found, stopped = scanner.add(piece)
        text += found
        if stopped:
            return text, True
    return text + scanner.end(), False


@given(STOPS, st.text("abc\n", max_size=30), st.lists(st.integers(0, 30), max_size=8))
def test_stop_strings_do_not_hang_on_how_the_text_came(stops, text, cuts) -> None:
    places = sorted({0, len(text), *(cut for cut in cuts if cut <= len(text))})
    pieces = [text[start:end] for start, end in pairwise(places)]
    whole = scanned(stops, [text])
    assert scanned(stops, pieces) == whole == scanned(stops, list(text))
    assert text.startswith(whole[0])
    assert not any(stop in whole[0] for stop in stops)
    assert whole[1] == any(stop in text for stop in stops)


@pytest.mark.parametrize(
    ("stops", "pieces", "expected"),
    [
        (["\n\n"], ["a\n", "\nb"], ("a", True)),
        (["END"], ["xE", "N", "D"], ("x", True)),
        (["END"], ["xE", "N", "E"], ("xENE", False)),
        (["abc", "b"], ["abc"], ("a", True)),
        (["ab", "b"], ["xab"], ("x", True)),
    ],
)
def test_stop_strings_across_borders(stops, pieces, expected) -> None:
    assert scanned(stops, pieces) == expected


def answered(pieces, stops=(), ends=()) -> list[Choice]:
    parts: list[Choice] = []
    answer = Answer(0, lambda ids: BYTES.decode(list(ids)), stops, ends, parts.append)
    for piece in pieces:
        if not answer.finish:
            answer.piece(piece)
    return parts


@given(st.text("ab🎉", max_size=12), st.lists(st.integers(1, 5), min_size=1, max_size=40), STOPS)
def test_an_answer_is_the_same_however_its_tokens_come(text, sizes, stops) -> None:
    ids = BYTES.encode(text).ids
    pieces, place = [], 0
    for size in sizes:
        pieces.append(Piece(ids[place : place + size]))
        place += size
    pieces.append(Piece(ids[place:]))
    together = answered([*pieces, Piece(finish="length")], stops)
    alone = answered([*(Piece([one]) for one in ids), Piece(finish="length")], stops)
    assert "".join(part.text for part in together) == "".join(part.text for part in alone)
    assert together[-1].finish == alone[-1].finish == ("stop" if any(stop in text for stop in stops) else "length")
    assert together[-1].completion_tokens == alone[-1].completion_tokens


def test_the_end_token_is_counted_and_is_no_text() -> None:
    end = BYTES.encode("!").ids[0]
    parts = answered([Piece([*BYTES.encode("a").ids, end], finish="stop")], ends=[end])
    assert [(part.text, part.finish, part.completion_tokens) for part in parts] == [("a", "stop", 2)]
