"""Flows of every shape that a job may have, with what each must give. Knows no runner."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import sage

NUM_RECORDS = 20_000


def double(number: int) -> int:
    return 2 * number


def is_even(number: int) -> bool:
    return number % 2 == 0


def last_digit(number: int) -> int:
    return number % 10


async def double_soon(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def found_text(record: dict[str, Any]) -> str:
    text: str = record["passages"][0].text
    return text


Results = Callable[[], object]
Shape = Callable[[sage.Flow], tuple[Results, object]]
"""Adds steps to a flow; returns how to read what came out, and what must have come out."""


def line(flow: sage.Flow) -> tuple[Results, object]:
    out = flow.from_collection(range(NUM_RECORDS)).map(double).filter(is_even).collect()
    return lambda: out.items, [2 * n for n in range(NUM_RECORDS)]


def fan_out(flow: sage.Flow) -> tuple[Results, object]:
    numbers = flow.from_collection(range(NUM_RECORDS))
    doubled, even = numbers.map(double).collect(), numbers.filter(is_even).collect()
    wanted = ([2 * n for n in range(NUM_RECORDS)], list(range(0, NUM_RECORDS, 2)))
    return lambda: (doubled.items, even.items), wanted


def fan_in(flow: sage.Flow) -> tuple[Results, object]:
    """Streams of unequal length, one of them empty."""
    few, many, none = (flow.from_collection(range(num)) for num in (7, NUM_RECORDS, 0))
    out = few.union(many, none).map(double).collect()
    wanted = Counter([2 * n for n in range(NUM_RECORDS)]) + Counter([2 * n for n in range(7)])
    return lambda: Counter(out.items), wanted


def diamond(flow: sage.Flow) -> tuple[Results, object]:
    numbers = flow.from_collection(range(NUM_RECORDS))
    out = numbers.map(double).union(numbers.filter(is_even)).collect()
    wanted = Counter(2 * n for n in range(NUM_RECORDS)) + Counter(range(0, NUM_RECORDS, 2))
    return lambda: Counter(out.items), wanted


def keyed(flow: sage.Flow) -> tuple[Results, object]:
    """A shuffle to three instances; every update comes out, in order for each key."""
    out = flow.from_collection(range(NUM_RECORDS)).key_by(last_digit).count().with_parallelism(3).map(tuple).collect()
    wanted = Counter((digit, at) for digit in range(10) for at in range(1, NUM_RECORDS // 10 + 1))
    return lambda: Counter(out.items), wanted


def keyed_final(flow: sage.Flow) -> tuple[Results, object]:
    out = flow.from_collection(range(NUM_RECORDS)).key_by(last_digit).sum(final=True).with_parallelism(4).collect()
    wanted = {digit: sum(range(digit, NUM_RECORDS, 10)) for digit in range(10)}
    return lambda: dict(out.items), wanted


def spread(flow: sage.Flow) -> tuple[Results, object]:
    """Round robin to two instances and back to one."""
    numbers = flow.from_collection(range(NUM_RECORDS)).map(double).with_parallelism(2)
    out = numbers.filter(is_even).with_parallelism(1).collect()
    return lambda: Counter(out.items), Counter(2 * n for n in range(NUM_RECORDS))


def awaited(flow: sage.Flow) -> tuple[Results, object]:
    """Coroutines; order is kept."""
    out = flow.from_collection(range(2_000)).map_async(double_soon, max_in_flight=16).collect()
    return lambda: out.items, [2 * n for n in range(2_000)]


def late_batches(flow: sage.Flow) -> tuple[Results, object]:
    """Batches that wait to be filled: what is left over comes at the end."""
    out = flow.from_collection(range(1_001)).map_batches(list, max_records=100, max_wait_s=60.0).collect()
    return lambda: out.items, list(range(1_001))


def indexed(flow: sage.Flow) -> tuple[Results, object]:
    """A stream that asks an index waits for the stream that fills it."""
    documents = [{"text": f"{n}", "vector": [1.0 if at == n else 0.0 for at in range(8)]} for n in range(8)]
    index = sage.Index("numbers")
    flow.from_collection(documents * 300).index_into(index, source=None)
    asked = flow.from_collection(documents * 50).retrieve(index, k=1)
    out = asked.map(lambda record: (record["text"], found_text(record))).collect()
    return lambda: out.items, [(f"{n}", f"{n}") for n in range(8)] * 50


SHAPES: tuple[Shape, ...] = (
    line,
    fan_out,
    fan_in,
    diamond,
    keyed,
    keyed_final,
    spread,
    awaited,
    late_batches,
    indexed,
)
