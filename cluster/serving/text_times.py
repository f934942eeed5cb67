"""How long an engine takes for batches of texts, learned from those it answered. Knows nothing of queues or requests.

A batch costs something as such, so one of many texts is done sooner than as many of one: the time is a line over the
tokens of a batch. Beyond the largest that was seen it is taken as that: what is not known keeps nobody away.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from cluster.serving.latency import RobustLine
from cluster.serving.ticket import Lane, Ticket

_MIN_SEEN = 4  # batches before a line is trusted: the first may warm something up


@dataclass(slots=True)
class _Batch:
    tokens: int
    num_left: int
    is_whole: bool = True  # whether all of it was worked on to its end


@dataclass(slots=True)
class _Line:
    line: RobustLine = field(default_factory=RobustLine)
    most_tokens: int = 0


class TextTimes:
    """Of one engine: batches that it holds, in order, and lines by lane. O(1) a ticket."""

    def __init__(self) -> None:
        self._held: dict[int, _Batch] = {}
        self._lines: dict[Lane, _Line] = {}
        self._since_s = 0.0  # when it began with the first of them
        self.tokens = 0  # of all of them

    def __len__(self) -> int:
        return len(self._held)

    def given(self, batch: int, tickets: Sequence[Ticket], now_s: float) -> None:
        """Note a batch that is sent now."""
        if not self._held:
            self._since_s = now_s
        self._held[batch] = _Batch(sum(ticket.size.prompt_tokens for ticket in tickets), len(tickets))
        self.tokens += self._held[batch].tokens

    def ended(self, batch: int, ticket: Ticket, now_s: float) -> None:
        """Note that a request of a batch ended; what was answered before, as one past its deadline, tells no time."""
        held = self._held[batch]
        held.num_left -= 1
        held.is_whole = held.is_whole and not ticket.is_answered
        if held.num_left:
            return
        del self._held[batch]
        self.tokens -= held.tokens
        if held.is_whole:
            known = self._lines.setdefault(ticket.lane, _Line())
            known.line.observe(float(held.tokens), now_s - self._since_s)
            known.most_tokens = max(known.most_tokens, held.tokens)
        self._since_s = now_s

    def batch_s(self, lane: Lane, tokens: float) -> float | None:
        """Return how long a batch of so many tokens takes, or the largest that was seen; None while too little was."""
        known = self._lines.get(lane)
        if known is None or known.line.num_seen < _MIN_SEEN:
            return None
        return known.line.at(min(tokens, float(known.most_tokens)))

    def left_s(self, lane: Lane, now_s: float) -> float:
        """Return how long it takes for what it holds, as if all were of one lane."""
        took_s = sum(self.batch_s(lane, held.tokens) or 0.0 for held in self._held.values())
        return max(0.0, took_s - (now_s - self._since_s)) if self._held else 0.0

    def check(self, num_held: int) -> None:
        """Assert what always holds; for tests."""
        assert num_held == sum(held.num_left for held in self._held.values())
        assert self.tokens == sum(held.tokens for held in self._held.values())
