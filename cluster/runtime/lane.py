"""Which messages wait behind all others. Knows no mailbox."""


class OnDataLane:
    """A message of a type derived from this waits behind all control messages; within the lane order is kept."""

    __slots__ = ()
