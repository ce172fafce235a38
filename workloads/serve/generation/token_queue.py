"""Queue before an engine, bounded in tokens: who may begin, who waits, who is refused. Pure.

First come, first served: a long prompt at the head holds the shorter ones behind it, or it would never begin. What an
answer will take is not known before; its prompt and BEGINNING tokens are counted, and the engine makes room for more by
putting back whoever came last.
"""

from collections import OrderedDict
from collections.abc import Iterator

BEGINNING = 64  # tokens


class Full(Exception):  # noqa: N818 (a refusal, no fault)
    """No room to wait. `tokens` that wait before."""

    def __init__(self, tokens: int) -> None:
        super().__init__(f"{tokens} tokens wait already")
        self.tokens = tokens


class TokenQueue:
    """Answers by number. An empty engine takes anything, however large."""

    def __init__(self, waiting_tokens: int, running_tokens: int, sequences: int) -> None:
        self._most_waiting, self._most_running, self._sequences = waiting_tokens, running_tokens, sequences
        self._waiting: OrderedDict[int, tuple[int, int]] = OrderedDict()  # prompt's tokens, and with the beginning
        self._running: dict[int, int] = {}
        self.waiting_tokens = 0
        self.running_tokens = 0

    @property
    def waiting(self) -> int:
        """Answers that have not begun."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Answers that have begun."""
        return len(self._running)

    def offer(self, numbers: list[int], prompt: int, most: int) -> None:
        """Let answers to one prompt wait. Raises Full where not all of them may: then none of them does.

        Who finds nobody waiting is never refused: however long a prompt is, its length was checked before.
        """
        together = prompt * len(numbers)
        if self._waiting and self.waiting_tokens + together > self._most_waiting:
            raise Full(self.waiting_tokens)
        for number in numbers:
            self._waiting[number] = prompt, prompt + min(most, BEGINNING)
        self.waiting_tokens += together

    def begin(self) -> Iterator[int]:
        """Numbers of those that may begin now."""
        while self._waiting and len(self._running) < self._sequences:
            number, (prompt, cost) = next(iter(self._waiting.items()))
            if self._running and self._most_running and self.running_tokens + cost > self._most_running:
                return
            del self._waiting[number]
            self.waiting_tokens -= prompt
            self._running[number] = cost
            self.running_tokens += cost
            yield number

    def remove(self, number: int) -> bool:
        """Forget one that has ended or is not wanted any more; True when it had begun."""
        if number in self._waiting:
            self.waiting_tokens -= self._waiting.pop(number)[0]
            return False
        cost = self._running.pop(number, None)
        if cost is None:
            return False
        self.running_tokens -= cost
        return True
