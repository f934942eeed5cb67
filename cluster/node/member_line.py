"""The line of a member to its head: one connection at a time, its descriptors watched by the member.

Knows no message and nothing of what a lost connection means.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from cluster.runtime.channel import ChannelLost, ControlClient
from cluster.runtime.control import ControlMessage, HeadToNode
from cluster.runtime.control_frames import Came

LAST_WORDS_MS = 500


class LineOwner(Protocol):
    """Whose thread the line is used on: an actor, which drains the line as one of its descriptors is readable."""

    def watch_fd(self, fd: int) -> None: ...

    def unwatch_fd(self, fd: int) -> None: ...


class MemberLine:
    """Used by one thread. `epoch`: in which the head let the member in; 0: not on this connection, not yet.

    `num_opened`: connections so far.
    """

    def __init__(self, owner: LineOwner, connect: Callable[[], ControlClient[HeadToNode]]) -> None:
        self._owner = owner
        self._connect = connect
        self._channel: ControlClient[HeadToNode] | None = None
        self.epoch = self.num_opened = 0

    def open(self) -> None:
        """Begin a new connection, in no epoch; raises what `connect` raises."""
        self._channel = self._connect()
        for fd in self._channel.fds():
            self._owner.watch_fd(fd)
        self.epoch = 0
        self.num_opened += 1

    def close(self) -> None:
        """Watch and say nothing any more, where there is a connection."""
        if self._channel is not None:
            for fd in self._channel.fds():
                self._owner.unwatch_fd(fd)
            self._channel.close()
            self._channel = None

    def end(self) -> None:
        """Close for good: what was said last has LAST_WORDS_MS to leave. Whoever watched gets no more."""
        if self._channel is not None:
            self._channel.close(last_words_ms=LAST_WORDS_MS)
            self._channel = None

    def say(self, message: ControlMessage) -> bool:
        """Say it in the epoch; False where the head takes no more. With no connection there is nobody to say it to."""
        return self._channel is None or self._channel.send(message, self.epoch)

    def drain(self) -> Iterator[Came[HeadToNode] | ChannelLost]:
        """Yield what has come, in order; a ChannelLost is the last."""
        return iter(()) if self._channel is None else self._channel.drain()
