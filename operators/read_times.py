"""Event time of the partitions that a task reads, each apart: what its reader and its clock share. Knows neither."""

from collections.abc import Collection, Hashable
from dataclasses import dataclass, field
from math import inf


@dataclass(slots=True)
class ReadTimes:
    """`current`: the partition of which the last read gave records. `latest_s`: of each that is open, -inf before any.

    `stated_s`: what readers say themselves, where they do. `num_asked`: how often each that is open was asked for
    records, and had not ended. `owned`: the partitions of records that the reader, which gives those of
    several together, may give; None where it gives those of one at a time. `went_on`: which partition goes on with what
    an earlier reading had of one, by that one's name; those too that are not open yet.
    """

    current: str = ""
    latest_s: dict[str, float] = field(default_factory=dict)
    stated_s: dict[str, float] = field(default_factory=dict)
    num_asked: dict[str, int] = field(default_factory=dict)
    owned: Collection[Hashable] | None = None
    went_on: dict[str, str] = field(default_factory=dict)

    def begin(self, name: str, latest_s: float = -inf) -> None:
        self.latest_s[name] = latest_s

    def end(self, name: str) -> None:
        self.latest_s.pop(name, None)
        self.stated_s.pop(name, None)
        self.num_asked.pop(name, None)
        self.went_on.pop(name, None)

    def ask(self, name: str) -> None:
        self.num_asked[name] = self.num_asked.get(name, 0) + 1

    def state(self, name: str, watermark_s: float) -> None:
        self.stated_s[name] = max(self.stated_s.get(name, -inf), watermark_s)
