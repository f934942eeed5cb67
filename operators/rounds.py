"""The account of what is in a loop: every record of every round has a number. Knows no machine and no record.

Numbers rise, and the body of the loop takes them for event time. So a watermark that has passed the whole body says
that of the numbers before it nothing comes any more, whatever the body's steps have made of their records: one, many or
none. It is how Naiad counts what is left to be done (Murray et al., SOSP 2013, section 2.3), with one counter.
"""

from collections.abc import Iterable, Sequence
from math import inf
from typing import NamedTuple

from sage.base.errors import InternalError


class Left(NamedTuple):
    """A record that came out of a round: how many it has gone now, and its event time where the stream has it."""

    rounds: int
    timestamp_s: float | None


class Rounds:
    """Records by number, from `first` on. Those before it are accounted for."""

    def __init__(self) -> None:
        self._first = 0
        self._rounds: list[int] = []
        self._times: list[float | None] = []
        self._has_left = bytearray()
        self.num_out = 0
        """How many records are in the body of which nothing has come out yet."""

    def __len__(self) -> int:
        """Return of how many numbers something may still come out."""
        return len(self._rounds)

    @property
    def next_number(self) -> float:
        """The number of the next record: no record of a lower one goes in any more."""
        return float(self._first + len(self._rounds))

    def send(self, rounds: Sequence[int], times: Sequence[float | None]) -> list[float]:
        """Account for records that go in, each of which has gone so many rounds; return their numbers."""
        begin = self._first + len(self._rounds)
        self._rounds += rounds
        self._times += times
        self._has_left += bytes(len(rounds))
        self.num_out += len(rounds)
        return [float(number) for number in range(begin, begin + len(rounds))]

    def leave(self, number: float) -> Left:
        """Account for a record that came out of what went in under this number."""
        at = int(number) - self._first
        if not 0 <= at < len(self._rounds):
            raise InternalError(f"record {number} came out of a loop that holds {self._first} to {self.next_number}")
        if not self._has_left[at]:
            self._has_left[at] = 1
            self.num_out -= 1
        return Left(self._rounds[at] + 1, self._times[at])

    def passed(self, watermark: float) -> None:
        """Account for what will not come any more: everything before this number."""
        num = min(int(min(watermark, self.next_number)) - self._first, len(self._rounds))
        if num > 0:
            self.num_out -= self._has_left.count(0, 0, num)
            del self._rounds[:num], self._times[:num], self._has_left[:num]
            self._first += num

    def oldest_s(self) -> float:
        """Return the earliest event time of what is inside: infinite where nothing is, minus that where it has none."""
        if not self._times:
            return inf
        return oldest_of(self._times)

    def state(self) -> tuple[int, list[int], list[float | None]]:
        """Return the account as plain values."""
        return self._first, list(self._rounds), list(self._times)

    def restore(self, state: tuple[int, list[int], list[float | None]]) -> None:
        """Go on with an account; what has come out once may come out again."""
        first, rounds, times = state
        self._first, self._rounds, self._times = first, list(rounds), list(times)
        self._has_left = bytearray(len(self._rounds))
        self.num_out = len(self._rounds)


def oldest_of(times: Iterable[float | None]) -> float:
    """Return the earliest of event times; minus infinity where one is not known."""
    known = list(times)
    return -inf if None in known else min((time_s for time_s in known if time_s is not None), default=inf)
