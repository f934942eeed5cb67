"""Event time of the partitions that a task reads, each apart: what its reader and its clock share. Knows neither."""

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from math import inf


@dataclass(slots=True)
class ReadTimes:
    """`current`: the partition of which the last read gave records. `latest_s`: of each that is open, -inf before any.

    `stated_s`: what readers say themselves, where they do. `asked`: those that were asked for records since a clock
    began to watch them, and had not ended. `owned`: the partitions of records that the reader, which gives those of
    several together, may give; None where it gives those of one at a time.
    """

    current: str = ""
    latest_s: dict[str, float] = field(default_factory=dict)
    stated_s: dict[str, float] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)
    owned: Collection[Hashable] | None = None

    def begin(self, name: str, latest_s: float = -inf) -> None:
        self.latest_s[name] = latest_s

    def end(self, name: str) -> None:
        self.latest_s.pop(name, None)
        self.stated_s.pop(name, None)
        self.asked.discard(name)

    def state(self, name: str, watermark_s: float) -> None:
        self.stated_s[name] = max(self.stated_s.get(name, -inf), watermark_s)
