"""Streams of which every instance of the next step gets all, alone and beside a keyed one. Runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

from sage.flow.broadcast_process import BroadcastProcess
from sage.flow.joined import StreamPair
from sage.flow.processes import process_spec
from sage.flow.stream import SidedStream, Stream

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class BroadcastStream(Stream[T_co]):
    """Records of type `T_co`, all of which go, in one order, to every instance of each step that reads them."""

    __slots__ = ()


class BroadcastConnected(StreamPair[K, T, S]):
    """A keyed stream beside a broadcast one."""

    __slots__ = ()

    def process(
        self,
        process: Callable[[], BroadcastProcess[K, T, S, U]] | BroadcastProcess[K, T, S, U],
        *,
        sides: Iterable[str] = (),
    ) -> SidedStream[U, Any]:
        """Give the records of each key to a process that is also told every record of the broadcast stream.

        Nothing says which of two records comes first that are of different streams. Event time is that of the keyed
        stream alone.

        >>> import sage
        >>> class Priced(sage.BroadcastProcess[str, tuple[str, int], tuple[str, float], float | None]):
        ...     rates = sage.BroadcastState[str, float]()
        ...     def on_broadcast(self, record, context):
        ...         self.rates[record[0]] = record[1]
        ...     def on_record(self, record, context):
        ...         yield self.rates.get(record[0])
        >>> flow = sage.Flow("f")
        >>> orders = flow.from_collection([("eur", 2), ("usd", 5)]).key_by(lambda order: order[0])
        >>> rates = flow.from_collection([("eur", 1.5), ("usd", 1.0)])
        >>> priced = orders.connect(rates.broadcast()).process(Priced).with_parallelism(2)
        """
        return SidedStream(
            self._builder, self._then(process_spec(process, BroadcastProcess, sides, has_broadcast=True))
        )
