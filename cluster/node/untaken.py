"""What a task has sent to the head and the head has not taken: bounded, so that a task waits and not the head fills up.

Knows no message.
"""

from collections.abc import Callable

from cluster.runtime.control import NUM_UNTAKEN
from cluster.runtime.packed import PIECE_BYTES, Piece, join_pieces
from cluster.runtime.scheduler import Condition
from sage.base.errors import MembershipOver

_LOOK_EVERY_S = 1.0


REST_S = 0.05
"""Half the time after which progress is reported; a record that comes alone does not wait."""


class Gathered:
    """Pieces of one sink that leave together: what comes within REST_S of a message goes with the next one.

    Every message wakes seven threads on its way to whoever collects and back: tasks that end one batch after the other
    would spend a tenth of two cores on that (measured 2026-11-23).
    """

    def __init__(self, send: Callable[[Piece], object]) -> None:
        """`send` does not wait; on any thread, one at a time."""
        self._send = send
        self._pieces: list[Piece] = []
        self._num_bytes = 0

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._num_bytes += len(piece.packed)

    @property
    def is_empty(self) -> bool:
        return not self._pieces

    @property
    def is_full(self) -> bool:
        """Say whether what has come does not wait for more."""
        return self._num_bytes >= PIECE_BYTES

    def leave(self) -> None:
        """Send everything; there must be something."""
        pieces, self._pieces, self._num_bytes = self._pieces, [], 0
        self._send(join_pieces(pieces))


class Untaken:
    """Credits of one task; taken by its thread, given by another."""

    def __init__(self, changed: Condition) -> None:
        """`changed`: nobody else's, for threads to wait by."""
        self._changed = changed
        self._num_left = NUM_UNTAKEN
        self._is_over = False
        self._is_resting = False
        self._waiting: list[Gathered] = []

    @property
    def is_over(self) -> bool:
        """Say whether `end` was called."""
        return self._is_over

    def take(self) -> None:
        """Take one credit, waiting for it until `end`; raises MembershipOver once that was called."""
        with self._changed:
            self._take()

    def bring(self, piece: Piece, gathered: Gathered) -> None:
        """Let `piece` leave: at once, unless something has left lately; then with the next message of its sink.

        Waits for credit, as `take` does, where that would be too long; raises what that raises.
        """
        with self._changed:
            gathered.add(piece)
            if not self._is_resting or gathered.is_full:
                self._take()
                self._let_go(gathered)
            elif gathered not in self._waiting:
                self._waiting.append(gathered)

    def bring_rest(self, gathered: Gathered) -> None:
        """Let everything leave that waits; waits for credit, and raises, as `take` does."""
        with self._changed:
            if not gathered.is_empty:
                self._take()
                self._let_go(gathered)

    def has_rested(self) -> bool:
        """Let leave what waits, as far as there is credit; say whether to call again, REST_S from now.

        To be called within REST_S of each message that has left.
        """
        with self._changed:
            self._is_resting = bool(self._waiting) and not self._is_over
            for gathered in self._waiting[: self._num_left] if self._is_resting else ():
                self._num_left -= 1
                self._let_go(gathered)
            return self._is_resting

    def give(self, num: int) -> None:
        """Give credits back; more than were taken count for nothing."""
        with self._changed:
            self._num_left = min(NUM_UNTAKEN, self._num_left + num)
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _take(self) -> None:
        while not self._num_left and not self._is_over:
            self._changed.wait(_LOOK_EVERY_S)
        if self._is_over:
            raise MembershipOver("the run was stopped while its records waited for the head")
        self._num_left -= 1

    def _let_go(self, gathered: Gathered) -> None:
        """Send, for a credit that was taken; it is given back where all has left while credit was waited for."""
        if gathered in self._waiting:
            self._waiting.remove(gathered)
        if gathered.is_empty:
            self._num_left += 1
        else:
            self._is_resting = True
            gathered.leave()
