"""Rivals that can take part in a measurement: started, with their input, and seen to come to the right result."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from benchmarks.measure import Prepare
from benchmarks.rivals.environment import LeftOut, Say, python_of
from benchmarks.rivals.process import RivalProcess
from benchmarks.rivals.rival_wanted import RivalWanted
from sage.base.clock import Clock
from sage.base.errors import InternalError

IsRight = Callable[[object], bool]
"""Whether an outcome is what the oracle says."""


@dataclass(frozen=True, slots=True)
class RivalsBeside:
    """Which rivals are wanted, and of which input: the first `num_records`, None for all, drawn by `seed`. `num_keys`
    and `every_s` are for those workloads that have keys, and checkpoints or a pace."""

    engines: tuple[str, ...]
    num_records: int | None
    seed: int
    batch_records: int
    clock: Clock
    say: Say
    num_keys: int = 0
    every_s: float = 0.0

    @contextmanager
    def ready(self, workload: str, is_right: IsRight) -> Iterator[Mapping[str, Prepare]]:
        """Yield the ways of those that can compute `workload`, each tried once; `say` is told why others cannot."""
        with ExitStack() as stack:
            ways: dict[str, Prepare] = {}
            for engine in self.engines:
                found = self._started(self._asked(engine, workload), is_right, stack)
                if isinstance(found, LeftOut):
                    self.say(f"{engine} is left out of {workload}: {found.why}")
                else:
                    ways[engine] = _way(found)
            yield ways

    def _asked(self, engine: str, workload: str) -> RivalWanted:
        return RivalWanted(
            engine, workload, self.num_records, self.seed, self.batch_records, self.num_keys, self.every_s
        )

    def _started(self, asked: RivalWanted, is_right: IsRight, stack: ExitStack) -> RivalProcess | LeftOut:
        python = python_of(asked.engine, self.say)
        if isinstance(python, LeftOut):
            return python
        process = stack.enter_context(RivalProcess(python, asked, self.clock))
        refusal = process.refusal()
        if refusal is not None:
            return refusal
        self.say(f"{asked.engine}: {asked.workload}")
        try:
            outcome = process.run().outcome
        except InternalError as error:
            return LeftOut(error.what)
        return process if is_right(outcome) else LeftOut("its result is not that of the oracle")


def _way(process: RivalProcess) -> Prepare:
    return lambda: process.run
