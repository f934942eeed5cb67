"""Jobs on a simulated cluster whose disks do not keep what they have acknowledged. Knows nothing of what must hold.

What of a checkpoint is not as it was is never gone on from, and a journal that is not as it was is never believed.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.cluster import FlowKind
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.disk import Disk
from tests.simulation.journal_files import JournalFiles
from tests.simulation.kept_flows import KeptFlow, ListedFlow


class RotStory(ClusterStory):
    """The head dies once a checkpoint is complete, and files rot until it returns, and at other times."""

    head_lost_share = 1.0
    num_kept_before = (2, 3, 3, 4)

    def __init__(self, seed: int) -> None:
        super().__init__(seed, is_kept=True)
        for _ in range(self._rng.choice((0, 0, 1, 3))):
            self.world.later(self._rng.random() * self._faults_end_s, self.troubles.rot)

    def _kind(self) -> FlowKind:
        return self._rng.choice((KeptFlow, ListedFlow, ListedFlow))

    def _head_lost(self) -> None:
        for _ in range(self._rng.choice((1, 1, 1, 2))):
            self.troubles.rot()


class JournalRotStory(ClusterStory):
    """The head dies several times, and what its journal is in rots until it returns."""

    num_deaths = (1, 2, 3, 4)

    def __init__(self, seed: int, *, is_kept: bool = False) -> None:
        self._folder = TemporaryDirectory()
        super().__init__(seed, is_kept=is_kept)
        self.troubles.journal_files = self.journal_files
        for _ in range(self._rng.choice(self.num_deaths)):
            self.world.later(self._rng.random() * self._faults_end_s, self.troubles.kill_head)

    def run(self) -> None:
        with self._folder:
            super().run()

    def _disk(self) -> Disk:
        self.journal_files = JournalFiles(self.world, Path(self._folder.name))
        return self.journal_files

    def _wrong(self) -> list[str]:
        return [*self.journal_files.wrong, *super()._wrong()]
