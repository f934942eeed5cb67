"""What a task holds: made into the state that is kept, and taken up from it. Knows neither phases nor barriers."""

from dataclasses import astuple, fields

from cluster.runtime.commits import Commits
from cluster.runtime.inputs import Inputs
from cluster.runtime.obeying import Obeying
from cluster.runtime.saving import StateKeeper, TaskState
from cluster.runtime.source import ReaderWorkshop, TaskSource
from operators.machine import Command, Counts, FollowsPartitions, InParts, Machine

_COUNTS = tuple(field.name for field in fields(Counts))


class Holdings:
    """Of one task. `has_ended`: its machine was told that the input is over; `is_final`: its final state is saved."""

    def __init__(
        self, keeper: StateKeeper | None, *, source: TaskSource, inputs: Inputs, obeying: Obeying, commits: Commits
    ) -> None:
        self._keeper = keeper
        self._source = source
        self._inputs = inputs
        self._obeying = obeying
        self._commits = commits
        self.has_ended = False
        self.is_final = False

    def open_source(self, workshop: ReaderWorkshop, saved: TaskState | None, machine: Machine) -> None:
        """Begin to read, or go on; where partitions are read apart event time goes by them. Raises SourceUnreadable."""
        if saved is None:
            self._source.open(workshop, None)
        else:
            self._source.open(workshop, saved.reading, has_ended=saved.has_ended)
        if (times := self._source.times) is not None and isinstance(machine, FollowsPartitions):
            machine.follow(times)

    def take_up(self, saved: TaskState, machine: Machine) -> list[Command]:
        """Go on from what was saved, but for the source; return what the machine wants done before any record."""
        self.has_ended = saved.has_ended
        self._obeying.num_letters = saved.num_letters
        for name, count in zip(_COUNTS, saved.counts, strict=False):
            setattr(machine.counts, name, count)
        self._obeying.num_before = machine.counts.records_in
        self._inputs.restore(saved.waiting, saved.watermark_s)
        return machine.restore(saved.steps)

    def save(self, checkpoint_id: int, machine: Machine) -> None:
        """Save for a checkpoint, unless the final state was saved: by that the task has answered already."""
        if not self.is_final:
            self._source.cut(checkpoint_id)
            self._save(checkpoint_id, machine)

    def save_last(self, machine: Machine) -> None:
        """Save the final state, once, where anything is kept."""
        if self._keeper is not None and not self.is_final:
            self.is_final = True
            self._save(None, machine)

    def _save(self, checkpoint_id: int | None, machine: Machine) -> None:
        assert self._keeper is not None, "what is not kept has no checkpoints"
        goes_on = isinstance(machine, InParts) and machine.goes_on
        state = TaskState(
            machine.snapshot(),
            self._source.reading(),
            self._inputs.waiting(),
            self._inputs.watermark_s,
            self.has_ended and not goes_on,
            is_final=checkpoint_id is None,
            counts=astuple(machine.counts),
            num_letters=self._obeying.num_letters,
        )
        commits = self._commits.prepared(checkpoint_id, state.steps)
        self._keeper.save(checkpoint_id, state, commits=commits)
