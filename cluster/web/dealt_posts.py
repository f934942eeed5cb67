"""Reads what is posted to one of several instances of a source, each at its own URL. Knows nothing of what is in it."""

from collections.abc import Sequence
from math import inf
from typing import Any

from cluster.web.post_reader import PostReader
from operators.read_times import ReadTimes
from sage.flow.connectors.http_source import HttpSource
from sage.flow.dealing import PartitionRead, PartitionsRead


class DealtPostReader(PostReader):
    """To event time and checkpoints each instance is a partition, named by its number."""

    def __init__(self, source: HttpSource, position: Any, instance: int, num_instances: int) -> None:
        super().__init__(source, position, instance=instance, num_instances=num_instances)
        self.listing = ""
        self._name = str(instance)
        own = _gone_on_with(position, instance, num_instances)
        self.times = ReadTimes(current=self._name, went_on={each.name: self._name for each in own})
        self.times.begin(self._name, min((each.latest_s for each in own), default=-inf))  # never too high for any

    def read(self, max_records: int) -> Sequence[Any] | None:
        self.times.ask(self._name)
        return super().read(max_records)

    def read_so_far(self) -> PartitionsRead:
        return PartitionsRead((PartitionRead(self._name, self.position(), self.times.latest_s[self._name]),))


def _gone_on_with(position: Any, instance: int, num_instances: int) -> list[PartitionRead]:
    """Return those instances before whose posts this one goes on with."""
    begun = position.begun if isinstance(position, PartitionsRead) else ()
    return [each for each in begun if int(each.name) % num_instances == instance]
