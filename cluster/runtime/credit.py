"""Credit between the two ends of a link: the receiver grants, the sender spends. Pure; knows no transport.

Both ends agree on `num_batches` when the link is made: so many batches may be on their way or waiting unprocessed.
"""

from sage.base.errors import InternalError


class SenderCredit:
    """The sending end: starts with all credit; a batch costs one."""

    def __init__(self, num_batches: int) -> None:
        assert num_batches >= 1, num_batches
        self._bound = num_batches
        self._left = num_batches

    @property
    def left(self) -> int:
        """Batches that may be sent now."""
        return self._left

    def is_stalled(self) -> bool:
        return self._left == 0

    def spend(self) -> None:
        """Account for one batch sent; raises InternalError without credit."""
        if self._left == 0:
            raise InternalError(f"a batch was sent without credit; the link holds {self._bound}")
        self._left -= 1

    def grant(self, num_batches: int) -> None:
        """Take back credit; raises InternalError where that is more than was spent."""
        if num_batches < 1 or self._left + num_batches > self._bound:
            raise InternalError(f"{num_batches} batches granted where {self._bound - self._left} were spent")
        self._left += num_batches


class ReceiverCredit:
    """The receiving end: gives credit back in lumps of half the bound, so that few messages carry it.

    No deadlock: a sender without credit has all its batches here, and processing them reaches the lump.
    """

    def __init__(self, num_batches: int) -> None:
        assert num_batches >= 1, num_batches
        self._lump = (num_batches + 1) // 2
        self._owed = 0

    def processed(self) -> int:
        """Account for one batch processed; return what to grant now, most often 0."""
        self._owed += 1
        if self._owed < self._lump:
            return 0
        granted, self._owed = self._owed, 0
        return granted
