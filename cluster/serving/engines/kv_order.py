"""The batches that vLLM publishes, in their order: what is missing is asked for again, once. Pure; knows no socket.

Where it does not come either, what is kept is not known until all of it is cleared.
"""

from collections.abc import Sequence

from cluster.serving.engines.kv_events import END_NUMBER, AllBlocksCleared, KvBatch, KvEvent, kv_batch
from sage.base.errors import RequestFailed


class KvOrder:
    """Begins with asking for all from number 0 on: what was published before anybody listened."""

    def __init__(self) -> None:
        self._next = 0
        self._ahead: KvBatch | None = None  # the one that showed that others are missing
        self.asks_again = True  # until all that is kept of what was published from `missing` on has come again
        self.is_lost = False

    @property
    def missing(self) -> int:
        """The number from which on batches are wanted again."""
        return self._next

    def published(self, frames: Sequence[bytes]) -> Sequence[KvEvent]:
        """Return what is to be believed by a message, of which none may be given while it `asks_again`.

        Raises: RequestFailed where it cannot be read.
        """
        assert not self.asks_again, "what is missing comes first"
        if self.is_lost:
            return self._once_cleared(frames)
        batch = kv_batch(frames)
        if batch.number > self._next:
            self._ahead, self.asks_again = batch, True
            return ()
        return self._taken(batch)

    def again(self, frames: Sequence[bytes]) -> Sequence[KvEvent]:
        """Return what is to be believed by a message that was asked for again.

        Raises: RequestFailed where it cannot be read, or what is missing is not among those kept.
        """
        if len(frames) == 3 and frames[1] == END_NUMBER:
            ahead, self._ahead, self.asks_again = self._ahead, None, False
            return () if ahead is None else self._taken(ahead)
        return self._taken(kv_batch(frames))

    def lose(self) -> None:
        """Believe nothing until all is cleared."""
        self.is_lost, self.asks_again, self._ahead = True, False, None

    def _taken(self, batch: KvBatch) -> Sequence[KvEvent]:
        if batch.number < self._next:
            return ()
        if batch.number > self._next:
            raise RequestFailed(f"of what vLLM published of its cache, {self._next} is gone: {batch.number} came")
        self._next += 1
        return batch.events

    def _once_cleared(self, frames: Sequence[bytes]) -> Sequence[KvEvent]:
        batch = kv_batch(frames)
        for at, event in enumerate(batch.events):
            if isinstance(event, AllBlocksCleared):
                self.is_lost, self._next = False, batch.number + 1
                return batch.events[at:]
        return ()
