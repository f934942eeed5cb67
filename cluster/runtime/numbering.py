"""Numbers of a connection's messages: what was lost, repeated or reordered on its way is noticed. Pure."""

from sage.base.errors import InternalError


class Numbering:
    """The numbers of one connection's messages: each comes once, in order, or the connection is not to be trusted."""

    def __init__(self, first: int = 0) -> None:
        self._next = first

    def check(self, number: int) -> None:
        """Raises OutOfOrder where `number` is not the next."""
        if number != self._next:
            what = "came twice or late" if number < self._next else f"came where {self._next} was due"
            raise OutOfOrder(f"message {number} of a connection {what}")
        self._next += 1


class OutOfOrder(InternalError):
    """A message was lost, repeated or reordered on its way."""
