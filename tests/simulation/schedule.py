"""What happened in a simulated world, and when: its end for people, all of it as one number. Knows no actor."""

import zlib
from collections import deque

LEN_TAIL = 80
_LEN_LINE = 160


class Schedule:
    """`fingerprint` is of all messages that were handled, with their times: two equal ones are of one schedule."""

    def __init__(self) -> None:
        self.fingerprint = 0
        self._tail: deque[tuple[int, float, str, object]] = deque(maxlen=LEN_TAIL)

    def note(self, number: int, at_s: float, name: str, what: object) -> None:
        """Show this among what happened last."""
        self._tail.append((number, at_s, name, what))

    def got(self, number: int, at_s: float, name: str, message: object) -> None:
        """Account for a message that `name` handles."""
        self.note(number, at_s, name, message)
        self.fingerprint = zlib.crc32(f"{number} {at_s!r} {name} {type(message).__name__}".encode(), self.fingerprint)

    def tail(self) -> str:
        """Return the end of the schedule, a line a message."""
        return "\n".join(
            f"{number:>6} {at_s:>10.4f} s  {name}: {_described(what)}" for number, at_s, name, what in self._tail
        )


def _described(what: object) -> str:
    text = what if isinstance(what, str) else repr(what)
    return text if len(text) < _LEN_LINE else f"{text[: _LEN_LINE - 3]}..."
