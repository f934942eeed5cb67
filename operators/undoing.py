"""What a process changed of a key in one try, taken back where the try failed. Knows no process."""

from collections.abc import Mapping
from typing import Any

from operators.sides import Sides


class Before:
    """How a key and the sides of its step were before a try; costs as much as the key has states and timers.

    Values that were assigned are put back, and what was appended to a list is cut off; what else a list or a dict went
    through in place cannot be known without a copy of all of it.
    """

    def __init__(self, values: dict[str, Any], timers: set[float], expiry_s: dict[str, float], sides: Sides) -> None:
        self._own = values, timers, expiry_s
        self._values, self._timers, self._expiry_s = values.copy(), timers.copy(), expiry_s.copy()
        self._lens = {name: len(value) for name, value in values.items() if isinstance(value, list)}
        self._sides = sides
        self._lens_of_sides: Mapping[str, int] = sides.lens()

    def put_back(self) -> None:
        values, timers, expiry_s = self._own
        for name, length in self._lens.items():
            del self._values[name][length:]
        values.clear()
        values.update(self._values)
        timers.clear()
        timers.update(self._timers)
        expiry_s.clear()
        expiry_s.update(self._expiry_s)
        self._sides.cut(self._lens_of_sides)
