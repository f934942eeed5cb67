"""What a user of `sage-benchmark plane` asks for, as a value. Knows nothing of how it is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlaneWanted:
    """Each policy with each route and each number of engines, while `waiting` requests wait."""

    policies: tuple[str, ...]
    routes: tuple[str, ...]
    engines: tuple[int, ...]
    waiting: int
    num_decisions: int
    num_rounds: int
    seed: int
    simulated: tuple[int, ...] = ()
    """Numbers of engines for which the speed of the simulator is wanted too."""

    def command(self) -> str:
        """Return the command line that asks for this.

        >>> PlaneWanted(("fifo",), ("auto",), (8, 64), 10_000, 2_000, 5, 7).command()
        'sage-benchmark plane --policy fifo --route auto --engines 8 --engines 64 --waiting 10000 --decisions 2000 \
--rounds 5 --seed 7'
        """
        words = ["sage-benchmark plane"]
        words += [f"--policy {name}" for name in self.policies]
        words += [f"--route {name}" for name in self.routes]
        words += [f"--engines {num}" for num in self.engines]
        words += [f"--waiting {self.waiting} --decisions {self.num_decisions}"]
        words += [f"--rounds {self.num_rounds} --seed {self.seed}"]
        words += [f"--simulate {num}" for num in self.simulated]
        return " ".join(words)
