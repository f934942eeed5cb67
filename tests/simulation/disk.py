"""The journal of a simulated head: what survives its lives. Knows no job.

What was kept is there for the next life. What was being kept when the head died is there or is not: chance decides.
"""

from cluster.jobs.journal import JobRecord, Journal, MemoryJournal
from sage.base.errors import JournalUnusable
from tests.simulation.world import World

_EPOCHS_A_LIFE = 1_000_000


class Disk:
    """Outlives heads; full for as long as it `is_full`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.is_full = False
        self.next_epoch = 0
        self.records: dict[str, JobRecord] = {}

    def journal(self) -> Journal:
        """Open what there is, for the next life of a head."""
        return SimulatedJournal(self)


class SimulatedJournal(MemoryJournal):
    """A Journal on a Disk."""

    def __init__(self, disk: Disk) -> None:
        super().__init__()
        self._disk = disk
        for record in disk.records.values():
            super().keep(record)

    def keep(self, record: JobRecord) -> None:
        if self._disk.is_full:
            raise JournalUnusable("the simulated disk is full")
        self._disk.world.yield_now()  # who dies here has written nothing
        self._disk.records[record.id] = record
        self._disk.world.yield_now()  # and who dies here does not know that it has
        super().keep(record)

    def reserve_epochs(self, at_least: int) -> int:
        first = max(at_least, self._disk.next_epoch)
        self._disk.next_epoch = first + _EPOCHS_A_LIFE
        return first
