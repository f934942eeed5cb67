"""The workloads as Bytewax has them, as its own documents would write them. Imports nothing of SAGE.

Records are made in the form that Bytewax wants (texts as keys, dates as times) before time is taken.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as windowing
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from benchmarks.auctions import (
    BEST_S,
    CATEGORY,
    HOT_EVERY_S,
    HOT_S,
    WANTED_STATES,
    Event,
    auction_of,
    auctions,
    in_euros,
    is_bid,
    is_wanted,
    person_of,
    price_of,
)
from benchmarks.call_times import NUM_IN_FLIGHT, Latency, call_times
from benchmarks.integers import grow, halve, is_even
from benchmarks.readings import MAX_OUT_OF_ORDER_S, WINDOW_S, readings
from benchmarks.rivals.bytewax_ends import BytewaxSink, BytewaxSource, Records
from benchmarks.rivals.bytewax_timed import paced_ages, running_sums
from benchmarks.rivals.rival_wanted import Form, RivalWanted
from benchmarks.texts import load_corpus, words_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def prepare(asked: RivalWanted) -> Callable[[], Form] | None:
    """Return what makes a flow ready; None where the workload is not known here."""
    batch, num, seed = asked.batch_records, asked.num_records, asked.seed
    match asked.workload:
        case "W1":
            return partial(_stateless, range(num or 0), batch)
        case "W2":
            return partial(_word_count, load_corpus(num, seed=seed).lines, batch)
        case "W3":
            rows = [(str(sensor), (_date(time_s), value)) for time_s, sensor, value in readings(num or 0, seed=seed)]
            return partial(_windowed_sum, rows, batch)
        case "W4-q1" | "W4-q3" | "W4-q5" | "W4-q7":
            events = [(event[0], _date(event[1]), *event[2:]) for event in auctions(num or 0, seed=seed)]
            return partial(_QUERY[asked.workload], events, batch)
        case "W5-constant" | "W5-exponential":
            latency = Latency(asked.workload.removeprefix("W5-"))
            return partial(_calls, call_times(num or 0, latency, seed=seed))
        case "sums" | "sums-kept":
            return partial(running_sums, asked, is_kept=asked.workload == "sums-kept")
        case "latency":
            return partial(paced_ages, (num or 0) + 1, asked.every_s)  # the first of a run is left out
        case _:
            return None


def _flow(records: Records, batch: int) -> tuple[Dataflow, Any]:
    flow = Dataflow("rival")
    return flow, op.input("records", flow, BytewaxSource(records, batch))


def _stateless(numbers: Records, batch: int) -> Form:
    totals = [0, 0]

    def take(items: list[int]) -> None:
        totals[0] += len(items)
        totals[1] += sum(items)

    flow, stream = _flow(numbers, batch)
    stream = op.map("halve", op.filter("even", op.map("grow", stream, grow), is_even), halve)
    op.output("end", stream, BytewaxSink(take))
    return partial(run_main, flow), lambda: tuple(totals)


def _word_count(lines: Records, batch: int) -> Form:
    latest: dict[str, int] = {}
    num_updates = [0]

    def take(items: list[tuple[str, int]]) -> None:
        latest.update(items)
        num_updates[0] += len(items)

    def count(state: int | None, _: str) -> tuple[int, int]:
        counted = (state or 0) + 1
        return counted, counted

    flow, stream = _flow(lines, batch)
    words = op.key_on("word", op.flat_map("words", stream, words_of), lambda word: word)
    op.output("end", op.stateful_map("count", words, count), BytewaxSink(take))
    return partial(run_main, flow), lambda: (num_updates[0], latest)


def _windowed_sum(rows: Records, batch: int) -> Form:
    sums: dict[tuple[int, float], int] = {}

    def take(items: list[tuple[str, tuple[int, int]]]) -> None:
        sums.update({(int(sensor), window * WINDOW_S): total for sensor, (window, total) in items})

    flow, stream = _flow(rows, batch)
    clock = windowing.EventClock(_first, timedelta(seconds=MAX_OUT_OF_ORDER_S))
    windower = windowing.TumblingWindower(align_to=_EPOCH, length=timedelta(seconds=WINDOW_S))
    summed = windowing.fold_window("sum", stream, clock, windower, int, lambda a, row: a + row[1], lambda a, b: a + b)
    op.output("end", summed.down, BytewaxSink(take))
    return partial(run_main, flow), lambda: sums


def _q1(events: Records, batch: int) -> Form:
    euros: list[float] = []
    flow, stream = _flow(events, batch)
    op.output("end", op.map("euros", op.filter("bids", stream, is_bid), in_euros), BytewaxSink(euros.extend))
    return partial(run_main, flow), lambda: (len(euros), round(sum(euros), 3))


def _q3(events: Records, batch: int) -> Form:
    sold: list[tuple[str, tuple[str, str, int]]] = []
    flow, stream = _flow(events, batch)
    wanted = op.key_on("person", op.filter("wanted", stream, is_wanted), lambda event: str(person_of(event)))
    op.output("end", op.stateful_flat_map("sales", wanted, _sales), BytewaxSink(sold.extend))
    return partial(run_main, flow), lambda: {sale for _, sale in sold}


def _sales(state: list[Any] | None, event: Event) -> tuple[list[Any], list[tuple[str, str, int]]]:
    """State is the person, once it is known, and the auctions that came before."""
    person, early = state or (None, [])
    if event[0] == "person":
        person = event[3], event[4]
        assert event[4] in WANTED_STATES
        return [person, []], [(*person, auction) for auction in early]
    assert event[4] == CATEGORY
    if person is None:
        return [None, [*early, event[2]]], []
    return [person, early], [(*person, event[2])]


def _q5(events: Records, batch: int) -> Form:
    counts: list[tuple[str, tuple[int, int]]] = []
    flow, stream = _flow(events, batch)
    bids = op.key_on("auction", op.filter("bids", stream, is_bid), lambda event: str(auction_of(event)))
    windower = windowing.SlidingWindower(
        align_to=_EPOCH, length=timedelta(seconds=HOT_S), offset=timedelta(seconds=HOT_EVERY_S)
    )
    counted = windowing.fold_window("count", bids, _clock(), windower, int, lambda a, _: a + 1, lambda a, b: a + b)
    op.output("end", counted.down, BytewaxSink(counts.extend))

    def outcome() -> dict[int, int]:
        hot: dict[int, int] = {}
        for _, (window, num) in counts:
            hot[window * HOT_EVERY_S] = max(num, hot.get(window * HOT_EVERY_S, 0))
        return hot

    return partial(run_main, flow), outcome


def _q7(events: Records, batch: int) -> Form:
    best: list[tuple[str, tuple[int, int]]] = []
    flow, stream = _flow(events, batch)
    bids = op.key_on("all", op.filter("bids", stream, is_bid), lambda _: "all")
    windower = windowing.TumblingWindower(align_to=_EPOCH, length=timedelta(seconds=BEST_S))
    highest = windowing.fold_window("best", bids, _clock(), windower, int, lambda a, bid: max(a, price_of(bid)), max)
    op.output("end", highest.down, BytewaxSink(best.extend))
    return partial(run_main, flow), lambda: {window * BEST_S: price for _, (window, price) in best}


_QUERY = {"W4-q1": _q1, "W4-q3": _q3, "W4-q5": _q5, "W4-q7": _q7}


def _calls(lasts_s: Sequence[float]) -> Form:
    results: list[int] = []
    loop = asyncio.new_event_loop()

    async def call(number: int) -> Any:
        answered = loop.create_future()
        loop.call_later(lasts_s[number], answered.set_result, 2 * number)
        return await answered

    async def call_all(numbers: list[int]) -> list[int]:
        called: list[int] = await asyncio.gather(*map(call, numbers))
        return called

    flow, stream = _flow(range(len(lasts_s)), NUM_IN_FLIGHT)
    called = op.flat_map_batch("call", stream, lambda numbers: loop.run_until_complete(call_all(numbers)))
    op.output("end", called, BytewaxSink(results.extend))
    return partial(run_main, flow), lambda: _closed(loop, results)


def _closed(loop: asyncio.AbstractEventLoop, results: list[int]) -> list[int]:
    loop.close()
    return results


def _clock() -> Any:
    return windowing.EventClock(lambda event: event[1], timedelta(seconds=MAX_OUT_OF_ORDER_S))


def _first(row: tuple[datetime, int]) -> datetime:
    return row[0]


def _date(time_s: float) -> datetime:
    return _EPOCH + timedelta(seconds=time_s)
