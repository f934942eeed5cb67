"""Lets threads that compute go on while another one encodes: Python runs one of them at a time.

Without it, each takes the interpreter for its whole switch interval of 5 ms before the other one has its turn.
"""

from threading import Event

_FOR_S = 0.0005


def give_way() -> None:
    """Hand the interpreter to whoever waits for it: a little wait does, since a thread that wakes must queue for it."""
    Event().wait(_FOR_S)
