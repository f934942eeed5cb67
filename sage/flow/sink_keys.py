"""Sinks that put records over others of the same key: each key is written by one instance. Knows no sink.

Two instances that write one key would leave either of them; in a database they may wait for each other's rows for ever.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from sage.base.demand import Demand
from sage.flow.graph import OnError, Step
from sage.flow.spec import KeyBy, ToAll, Write


@runtime_checkable
class KeyedSink(Protocol):
    """A sink with an order to keep within each key of its own."""

    def sink_keys(self) -> Callable[[Any], Hashable] | None:
        """Return what gives a record's key, and raises nothing; None: no record has one."""
        ...


@dataclass(frozen=True, slots=True)
class KeyOf:
    """The key of a record by a function of the user's; None where it has none, which the sink itself will say."""

    fn: Callable[[Any], Any]

    def __call__(self, record: Any) -> Hashable:
        try:
            return plain(self.fn(record))
        except Exception:  # noqa: BLE001 - a function of the user's may raise anything; the sink calls it once more
            return None


def plain(value: Any) -> Hashable:
    """Return a key that is the same in every process for equal values; texts and their UTF-8 bytes are one key.

    So are all values of a type of which it is not known when two of them are equal.

    >>> plain(memoryview(b"k")) == plain(bytearray(b"k")) == plain("k")
    True
    >>> plain({"a": 1}) == plain({"b": 2})
    True
    """
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if type(value).__module__ == "numpy" and callable(item := getattr(value, "item", None)):
        return plain(item())
    return value if value is None or isinstance(value, _PLAIN) else type(value).__name__.encode()


_PLAIN = (bytes, int, float, Decimal, UUID, date, time, timedelta)


def with_sink_keys(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return `steps`, in order, with one that gives the keys before each such sink of several instances."""
    by_name = {step.name: step for step in steps}
    found: list[Step] = []
    for step in steps:
        if (keyed := _keyed(step, by_name)) is not None:
            found.append(keyed)
            step = replace(step, inputs=(keyed.name,))
        found.append(step)
    return tuple(found)


def _keyed(step: Step, by_name: Mapping[str, Step]) -> Step | None:
    if step.parallelism == 1 or not isinstance(step.spec, Write) or not isinstance(step.spec.sink, KeyedSink):
        return None
    keys, before = step.spec.sink.sink_keys(), by_name[step.inputs[0]]
    if keys is None or isinstance(before.spec, ToAll):
        return None
    name = f"{step.name} by key"
    while name in by_name:
        name += "'"
    return replace(
        step,
        name=name,
        spec=KeyBy(keys),
        parallelism=before.parallelism,
        demand=Demand(),
        on_error=OnError.FAIL,
        retries=0,
    )
