"""The last step of a stream. Knows no sink."""

from sage.flow.handle import Handle


class Ending(Handle):
    """The last step of a stream: it can be named and set, but nothing comes after it."""

    __slots__ = ()
