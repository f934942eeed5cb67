"""Which of the partitions that a task reads have given nothing for some time, though asked. Pure; knows no clock."""

from collections.abc import Collection

from operators.read_times import ReadTimes

NUM_LOOKS = 4
"""So many looks are as far apart as a partition is to give nothing for."""


class Quiet:
    """Looked at again and again, the same time apart.

    A partition that gave nothing when it was asked, and nothing when it was asked later, gave nothing in between. Of
    two times it was asked no more is known than between which looks they were.
    """

    def __init__(self) -> None:
        self._num_looks = 0
        self._num_asked: dict[str, int] = {}  # at the last look
        self._since: dict[str, int] = {}  # the look after the first time that it was asked in vain

    def look(self, times: ReadTimes, heard: Collection[str]) -> set[str]:
        """Return those that are known to have given nothing for NUM_LOOKS times the distance of two looks.

        `heard`: those that have given something since the last look.
        """
        self._num_looks += 1
        asked = {name for name, num in times.num_asked.items() if num > self._num_asked.get(name, 0)}
        self._num_asked = dict(times.num_asked)
        self._since = {
            name: since for name, since in self._since.items() if name in times.latest_s and name not in heard
        }
        quiet = asked - set(heard)
        for name in quiet:
            self._since.setdefault(name, self._num_looks)
        return {name for name in quiet if self._num_looks - self._since[name] > NUM_LOOKS}
