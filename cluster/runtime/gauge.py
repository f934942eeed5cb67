"""How far a task is, for others to read at any time. Knows nothing of what it does."""

from operators.machine import Counts


class Gauge:
    """What others read of a task at any time: plain numbers, written by the task's thread only."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.busy_s = 0.0
        self.watermark_s: float | None = None
        """What it has told its receivers last; None on a stream without event time."""
        self.url = ""
        """Where to post to its source; "" where that does not listen."""
        self.num_waiting = 0
        """Batches that have come and were not taken."""
