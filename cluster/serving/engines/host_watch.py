"""Whether an engine host still works: asked again and again, it says how long its present iteration lasts. Pure.

A thread of the host answers, beside the engine's own: a host that is stopped, or whose engine keeps the interpreter to
itself, answers nothing. Both count as hung after a while; while it loads, it may be silent for longer.
"""

import struct

ASK_EVERY_S = 1.0
QUESTION = b"?"
_ANSWER = struct.Struct("<I")
_MAX_MS = 2**32 - 2


def answer_of(busy_s: float | None) -> bytes:
    """Return what a host says whose present iteration lasts `busy_s`, 0.0 between two; None: it loads."""
    return _ANSWER.pack(0 if busy_s is None else 1 + min(round(busy_s * 1000), _MAX_MS))


class HostWatch:
    """Counts questions without an answer, not seconds: those in which we were stopped ourselves say nothing."""

    def __init__(self, max_iteration_s: float, start_timeout_s: float = 120.0) -> None:
        """While it loads, it may be silent for `start_timeout_s`."""
        self._max_iteration_s = max_iteration_s
        self._start_timeout_s = start_timeout_s
        self._rest = b""
        self._num_unanswered = 0
        self._busy_s: float | None = None

    def serves(self) -> None:
        """It has loaded, whatever it answered last."""
        if self._busy_s is None:
            self._busy_s = 0.0

    def asked(self) -> str | None:
        """Count a question, to be sent every ASK_EVERY_S; return why the host counts as hung by now, if it does."""
        silent_s = self._num_unanswered * ASK_EVERY_S
        if self._busy_s is None:
            if silent_s >= self._start_timeout_s:
                return f"it has not answered for {silent_s:.0f} s while it loaded"
        elif self._busy_s >= self._max_iteration_s:
            return f"an iteration of it has lasted {self._busy_s:.0f} s (max_iteration_s = {self._max_iteration_s:g})"
        elif silent_s >= self._max_iteration_s:
            return f"it has not answered for {silent_s:.0f} s (max_iteration_s = {self._max_iteration_s:g})"
        self._num_unanswered += 1
        return None

    def heard(self, data: bytes) -> None:
        """Take what the host said."""
        data = self._rest + data
        len_whole = len(data) - len(data) % _ANSWER.size
        self._rest = data[len_whole:]
        for (said,) in _ANSWER.iter_unpack(data[:len_whole]):
            self._num_unanswered = 0
            if said:
                self._busy_s = (said - 1) / 1000
