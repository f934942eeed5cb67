"""W4: queries 1, 3, 5 and 7 of Nexmark over generated auctions, as flows and as the plain loops that are their limits.

Knows nothing of clocks or runners.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import sage
from benchmarks.auctions import (
    BEST_S,
    CATEGORY,
    EUROS,
    HOT_EVERY_S,
    HOT_S,
    WANTED_STATES,
    Event,
    auction_of,
    everything,
    in_euros,
    is_bid,
    is_wanted,
    person_of,
    price_of,
    time_of,
)

Query = Literal["q1", "q3", "q5", "q7"]


class Sales(sage.KeyedProcess[int, Event, tuple[str, str, int]]):
    """Q3: the auctions of each person, whichever comes first."""

    person = sage.ValueState[tuple[str, str] | None](None)
    early = sage.ListState[int]()

    def on_record(self, record: Event, context: sage.ProcessContext[int]) -> Iterable[tuple[str, str, int]] | None:
        if record[0] == "person":
            self.person = name, state = record[3], record[4]
            early = self.early
            del self.early
            return [(name, state, auction) for auction in early]
        if self.person is None:
            self.early.append(record[2])
            return None
        return [(*self.person, record[2])]


@dataclass(slots=True)
class Taken:
    """What ends a stream, a batch a call."""

    records: list[Any] = field(default_factory=list)

    def __call__(self, batch: Sequence[Any]) -> list[Any]:
        self.records.extend(batch)
        return []


@dataclass(frozen=True, slots=True)
class Auctions:
    """One query on one list of events."""

    events: Sequence[Event]
    query: Query

    @property
    def name(self) -> str:
        return f"W4-{self.query}"

    @property
    def data(self) -> str:
        return "auctions, 92 % bids"

    @property
    def num_records(self) -> int:
        return len(self.events)

    def plain(self) -> object:
        return _PLAIN[self.query](self.events)

    def flow(self) -> tuple[sage.Flow, Callable[[], object]]:
        taken = Taken()
        flow = sage.Flow(f"nexmark-{self.query}")
        match self.query:
            case "q1":
                prices = flow.from_collection(self.events).filter(is_bid).map(in_euros)
                prices.map_batches(taken).collect()
                return flow, lambda: (len(taken.records), round(sum(taken.records), 3))
            case "q3":
                wanted = flow.from_collection(self.events).filter(is_wanted).key_by(person_of)
                wanted.process(Sales).map_batches(taken).collect()
                return flow, lambda: set(taken.records)
            case "q5":
                bids = flow.from_collection(self.events, timestamp=time_of).filter(is_bid).key_by(auction_of)
                counts = bids.window(sage.Sliding(HOT_S, HOT_EVERY_S)).count()
                hot = counts.key_by(everything_of_result).window(sage.Tumbling(HOT_EVERY_S)).max(value_of)
                hot.map_batches(taken).collect()
                return flow, lambda: {result.end - HOT_S: result.value for result in taken.records}
            case "q7":
                bids = flow.from_collection(self.events, timestamp=time_of).filter(is_bid).key_by(everything)
                bids.window(sage.Tumbling(BEST_S)).max(price_of).map_batches(taken).collect()
                return flow, lambda: {result.start: result.value for result in taken.records}

    def expected(self) -> object:
        """Compute from all bids at once, sorted and grouped."""
        bids = [event for event in self.events if event[0] == "bid"]
        match self.query:
            case "q1":
                return len(bids), round(sum([bid[4] * EUROS for bid in bids]), 3)
            case "q3":
                persons = {event[2]: event for event in self.events if event[0] == "person"}
                sold = [event for event in self.events if event[0] == "auction" and event[4] == CATEGORY]
                sellers = [(persons[auction[3]], auction[2]) for auction in sold if auction[3] in persons]
                return {(person[3], person[4], auction) for person, auction in sellers if person[4] in WANTED_STATES}
            case "q5":
                slides = Counter((int(bid[1] // HOT_EVERY_S), bid[2]) for bid in bids)
                counts: Counter[tuple[int, int]] = Counter()
                for (slide, auction), num in slides.items():
                    for back in range(HOT_S // HOT_EVERY_S):
                        counts[slide - back, auction] += num
                hot: dict[int, int] = {}
                for (slide, _), num in counts.items():
                    hot[slide * HOT_EVERY_S] = max(num, hot.get(slide * HOT_EVERY_S, 0))
                return hot
            case "q7":
                best: dict[int, int] = {}
                for bid in sorted(bids, key=price_of):
                    best[int(bid[1] // BEST_S) * BEST_S] = bid[4]
                return best


def everything_of_result(result: "sage.WindowResult[int, int]") -> int:
    return 0


def value_of(result: "sage.WindowResult[int, int]") -> int:
    return result.value


def _plain_q1(events: Sequence[Event]) -> object:
    num, total = 0, []
    for event in events:
        if is_bid(event):
            num += 1
            total.append(in_euros(event))
    return num, round(sum(total), 3)


def _plain_q3(events: Sequence[Event]) -> object:
    persons: dict[int, tuple[str, str]] = {}
    early: dict[int, list[int]] = {}
    found: set[tuple[str, str, int]] = set()
    for event in events:
        if is_wanted(event):
            key = person_of(event)
            if event[0] == "person":
                persons[key] = event[3], event[4]
                found.update((event[3], event[4], auction) for auction in early.pop(key, ()))
            elif key in persons:
                found.add((*persons[key], event[2]))
            else:
                early.setdefault(key, []).append(event[2])
    return found


def _plain_q5(events: Sequence[Event]) -> object:
    counts: dict[int, dict[int, int]] = {}
    for event in events:
        if is_bid(event):
            slide = int(time_of(event) // HOT_EVERY_S) * HOT_EVERY_S
            auction = auction_of(event)
            for back in range(0, HOT_S, HOT_EVERY_S):
                window = counts.setdefault(slide - back, {})
                window[auction] = window.get(auction, 0) + 1
    return {start: max(window.values()) for start, window in counts.items()}


def _plain_q7(events: Sequence[Event]) -> object:
    best: dict[int, int] = {}
    for event in events:
        if is_bid(event):
            start = int(time_of(event) // BEST_S) * BEST_S
            price = price_of(event)
            if price > best.get(start, 0):
                best[start] = price
    return best


_PLAIN: dict[Query, Callable[[Sequence[Event]], object]] = {
    "q1": _plain_q1,
    "q3": _plain_q3,
    "q5": _plain_q5,
    "q7": _plain_q7,
}
