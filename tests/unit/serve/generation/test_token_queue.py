"""The queue in tokens: bounds hold, order holds, and what was counted is given back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.serve.generation.token_queue import BEGINNING, Full, TokenQueue

STEPS = st.lists(
    st.tuples(st.just("offer"), st.integers(1, 300), st.integers(1, 200), st.integers(1, 3))
    | st.tuples(st.just("remove"), st.integers(0, 60))
    | st.tuples(st.just("begin")),
    max_size=60,
)


@given(STEPS)
def test_bounds_hold_whatever_comes(steps) -> None:
    queue, numbers, begun, offered, last = TokenQueue(400, 500, 4), 0, [], {}, 0
    for kind, *said in steps:
        if kind == "offer":
            prompt, most, n = said
            new = list(range(numbers, numbers + n))
            empty = queue.waiting == 0
            try:
                queue.offer(new, prompt, most)
            except Full:
                assert not empty
                assert queue.waiting_tokens + prompt * n > 400
                continue
            numbers += n
            offered.update((one, (prompt, prompt + min(most, BEGINNING))) for one in new)
        elif kind == "remove":
            queue.remove(said[0])
            offered.pop(said[0], None)
        else:
            for one in queue.begin():
                assert one >= last, "first come, first served"
                last = one
                begun.append(one)
        running = [one for one in begun if one in offered]
        waiting = [one for one in offered if one not in begun]
        assert queue.running == len(running) <= 4
        assert queue.running_tokens == sum(offered[one][1] for one in running)
        assert queue.running_tokens <= 500 or len(running) == 1
        assert queue.waiting_tokens == sum(offered[one][0] for one in waiting)


def test_an_empty_engine_takes_what_is_larger_than_the_bound() -> None:
    queue = TokenQueue(10, 10, 4)
    queue.offer([1], 1000, 1000)
    assert list(queue.begin()) == [1]
    queue.offer([2], 5, 5)
    queue.offer([3], 5, 5)
    with pytest.raises(Full) as refusal:
        queue.offer([4], 1, 1)
    assert refusal.value.tokens == 10
    assert list(queue.begin()) == []
    assert queue.remove(1)
    assert list(queue.begin()) == [2], "with its beginning the next is more than the bound"
