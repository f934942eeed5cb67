"""What leaves a step beside its main stream, by tag, until it is taken after the batch. Knows no predicate."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from operators.machine import Command, Emit
from sage.base.batch import Batch

Add = Callable[[Any, float | None], None]
"""`add(record, timestamp_s)`."""


class Sides:
    """The sides of one step. `watermark_s` follows what is taken."""

    def __init__(self, step_name: str, tags: Iterable[str]) -> None:
        self._step_name = step_name
        self._kept: dict[str, tuple[list[Any], list[float | None]]] = {tag: ([], []) for tag in tags}
        self.watermark_s: float | None = None

    def add(self, tag: str, record: Any, timestamp_s: float | None) -> None:
        """Put a record aside; raises ValueError for a tag that is none of the step's."""
        if tag not in self._kept:
            raise ValueError(f"{tag!r} is no side of {self._step_name!r}; its sides: {list(self._kept)}")
        values, times = self._kept[tag]
        values.append(record)
        times.append(timestamp_s)

    def adder(self, tag: str) -> Add:
        """Return what puts a record aside under `tag`."""
        return partial(self.add, tag)

    def lens(self) -> Mapping[str, int]:
        """Return how many records are kept under each tag."""
        return {tag: len(values) for tag, (values, _) in self._kept.items()}

    def cut(self, lens: Mapping[str, int]) -> None:
        """Forget what was put aside since there were so many."""
        for tag, length in lens.items():
            for column in self._kept[tag]:
                del column[length:]

    def take(self) -> list[Command]:
        """Return what emits each side, with the watermark, and forget it."""
        commands: list[Command] = []
        watermark_s, self.watermark_s = self.watermark_s, None
        for tag, (values, times) in self._kept.items():
            if values or watermark_s is not None:
                known = [time_s for time_s in times if time_s is not None]
                batch = Batch(values, None, known if len(known) == len(values) > 0 else None, watermark_s)
                commands.append(Emit(batch, (self._step_name, tag)))
                self._kept[tag] = [], []
        return commands
