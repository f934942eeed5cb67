"""A machine around another one. Knows nothing of what is done to what goes in or comes out."""

from collections.abc import Hashable, Sequence
from typing import Any

from operators.machine import CallResult, Command, Counts, FollowsPartitions, InParts, Machine, Queryable
from operators.read_times import ReadTimes
from operators.state import State, not_kept
from sage.base.batch import Batch
from sage.base.inference import Reply


class Around:
    """Another machine, with something done to what goes in or comes out."""

    def __init__(self, inner: Machine) -> None:
        self._inner = inner
        self.counts: Counts = inner.counts

    def follow(self, times: ReadTimes) -> None:
        if isinstance(self._inner, FollowsPartitions):
            self._inner.follow(times)

    def open(self) -> None:
        self._inner.open()

    def snapshot(self) -> State:
        return self._inner.snapshot()

    def restore(self, state: State) -> list[Command]:
        return self._out(self._inner.restore(state))

    def room(self) -> int:
        return self._inner.room()

    def is_done(self) -> bool:
        return self._inner.is_done()

    @property
    def goes_on(self) -> bool:
        return isinstance(self._inner, InParts) and self._inner.goes_on

    def go_on(self) -> list[Command]:
        return self._out(self._inner.go_on()) if isinstance(self._inner, InParts) else []

    def on_batch(self, batch: Batch) -> list[Command]:
        return self._out(self._inner.on_batch(self._in(batch)))

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        return self._out(self._inner.on_replies(replies))

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        return self._out(self._inner.on_results(results))

    def on_timer(self, timer_id: int) -> list[Command]:
        return self._out(self._inner.on_timer(timer_id))

    def on_end(self) -> list[Command]:
        return self._out(self._inner.on_end())

    def close(self, *, complete: bool) -> list[Command]:
        return self._out(self._inner.close(complete=complete))

    def value_of(self, step: str, key: Hashable) -> Any:
        if not isinstance(self._inner, Queryable):
            raise not_kept(step)
        return self._inner.value_of(step, key)

    def _in(self, batch: Batch) -> Batch:
        return batch

    def _out(self, commands: list[Command]) -> list[Command]:
        return commands
