"""How many records a source is asked for at once. Pure; knows no source.

A slow source gives its first record as soon as it has it, a fast one whole batches.
"""

GROW_BELOW_S = 0.001
SHRINK_ABOVE_S = 0.010


class ReadPace:
    """Starts at one record; doubles while a full read is quick, halves when a read is long."""

    def __init__(self, max_records: int) -> None:
        assert max_records >= 1, max_records
        self._max_records = max_records
        self.num_records = 1

    def was_read(self, num_records: int, took_s: float) -> None:
        """Account for a read that gave `num_records` in `took_s` seconds."""
        if took_s > SHRINK_ABOVE_S:
            self.num_records = max(1, self.num_records // 2)
        elif took_s < GROW_BELOW_S and num_records >= self.num_records:
            self.num_records = min(self._max_records, self.num_records * 2)
