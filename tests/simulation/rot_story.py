"""Jobs that take checkpoints on a simulated cluster whose disks do not keep what they have acknowledged.

Knows nothing of what must hold: what of a checkpoint is not as it was is never gone on from.
"""

from tests.simulation.cluster import FlowKind
from tests.simulation.cluster_story import ClusterStory
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
