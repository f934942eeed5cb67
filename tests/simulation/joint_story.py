"""Everything at once: turns of a flow and jobs with checkpoints, while whatever there is breaks and disks rot.

Knows no promise of its own: those of turns, of jobs, of checkpoints and of journals hold side by side.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.chat_story import ChatStory, is_asked
from tests.simulation.client import WantedJob
from tests.simulation.cluster import FlowKind
from tests.simulation.disk import Disk
from tests.simulation.journal_files import JournalFiles
from tests.simulation.kept_flows import KeptFlow, ListedFlow

_WITHIN_S = 900.0
_NUM_MORE = (3, 6, 10, 15)
_ROTS_SHARE = 0.5


class JointStory(ChatStory):
    """A client and gateways of a flow, another client with jobs that take checkpoints, and many faults of all kinds."""

    def __init__(self, seed: int) -> None:
        self._folder = TemporaryDirectory()
        super().__init__(seed, is_kept=True)
        if self._rng.random() < _ROTS_SHARE:
            self.troubles.journal_files = self.journal_files
        self.troubles.have_more(self._rng.choice(_NUM_MORE))

    def run(self) -> None:
        with self._folder:
            super().run()

    def _disk(self) -> Disk:
        self.journal_files = JournalFiles(self.world, Path(self._folder.name))
        return self.journal_files

    def _kind(self) -> FlowKind:
        return self._rng.choice((KeptFlow, ListedFlow))

    def _wanted(self) -> list[WantedJob]:
        asked = super()._wanted()
        kept = [self._job(f"kept-{number}") for number in range(self._rng.choice((1, 1, 2)))]
        self._client = self.cluster.start_client("client-of-kept", kept)
        return [*asked, *kept]

    def _head_lost(self) -> None:
        self.troubles.rot()

    def _let_others_end(self) -> None:
        self.world.run_until(self._are_others_over, "the end of every job with checkpoints", within_s=_WITHIN_S)

    def _are_others_over(self) -> bool:
        door = self.cluster.door
        return self._client.has_ended and door is not None and all(map(is_asked, door._book.live()))

    def _wrong(self) -> list[str]:
        return [*self.journal_files.wrong, *super()._wrong()]
