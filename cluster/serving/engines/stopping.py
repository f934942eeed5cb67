"""Cut an answer at its stop strings, however it is cut into pieces. Knows nothing of tokens or engines."""

from collections.abc import Sequence


class StopScanner:
    """Passes an answer on piece by piece, holding back what may turn out to be the start of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops`: none of them empty."""
        assert all(stops), stops
        self._stops = tuple(stops)
        self._longest = max((len(stop) for stop in stops), default=0)
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        """Return what may be shown now; once `stopped`, that is the end of the answer and nothing follows.

        The stop string that is complete first counts, so that the result does not depend on how pieces are cut.
        """
        if not self._stops:
            return piece
        text = self._held + piece
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped = True
            self._held = ""
            return text[: min(ends)[1]]
        shown = len(text) - self._num_held(text)
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """Return what is still held back: the answer ended without a stop string."""
        held, self._held = self._held, ""
        return held

    def _num_held(self, text: str) -> int:
        for num in range(min(self._longest - 1, len(text)), 0, -1):
            if any(stop.startswith(text[-num:]) for stop in self._stops):
                return num
        return 0
