"""Samples of several texts: none is lost, none sees another, and what is learned is what each alone would teach."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.language import small
from workloads.data.texts import packing
from workloads.data.texts.packing import IGNORED, TokenSequence
from workloads.language import weights
from workloads.train.fine_tuning.causal_lm import CausalLM


def sequence(tokens: list[int], learned: list[bool] | None = None) -> TokenSequence:
    return TokenSequence(np.asarray(tokens, np.int64), np.asarray(learned or [True] * len(tokens), np.bool_))


@given(st.lists(st.integers(1, 16), min_size=1, max_size=40))
def test_every_text_is_in_one_sample_that_has_room_for_it(lengths: list[int]) -> None:
    found = packing.packed([sequence([1] * length) for length in lengths], 16)
    assert sorted(number for part in found.bins for number in part) == list(range(len(lengths)))
    assert all(sum(lengths[number] for number in part) <= 16 for part in found.bins)
    assert len(found.bins) <= 1 + 2 * sum(lengths) // 16


def test_a_target_is_never_in_another_text_nor_in_the_padding() -> None:
    found = packing.packed([sequence([5, 6, 7]), sequence([8, 9], [False, True])], 8)
    rows, targets = found.batch([0])
    assert rows[0].tolist() == [[5, 6, 7, 8, 9, 0, 0, 0], [1, 1, 1, 2, 2, 0, 0, 0], [0, 1, 2, 0, 1, 0, 0, 0]]
    assert targets[0].tolist() == [6, 7, IGNORED, 9, *[IGNORED] * 4]


def test_packed_and_unpacked_teach_the_same_and_padding_changes_nothing() -> None:
    torch.set_num_threads(1)
    model = CausalLM(weights.load(small.folder()), adapted=False)
    made = np.random.RandomState(0)
    texts = [sequence(made.randint(5, 512, size=size).tolist()) for size in (7, 20, 11, 3, 16, 5)]

    def total(samples: packing.Packed, together: int) -> float:
        found = 0.0
        for start in range(0, len(samples), together):
            rows, targets = map(torch.from_numpy, samples.batch(range(start, min(len(samples), start + together))))
            logits = model(rows).flatten(0, 1)
            found += float(
                torch.nn.functional.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED, reduction="sum")
            )
        return found

    with torch.no_grad():
        plain = 0.0
        for text in texts:  # as anybody would, without masks, places or padding
            ids = torch.from_numpy(text.tokens)[None]
            plain += float(model.model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
        packed = packing.packed(texts, 32)
        assert len(packed) < len(texts)
        for found in (total(packed, 2), total(packing.single(texts), 1), total(packing.single(texts), 6)):
            assert abs(found - plain) < 1e-3 * plain
