"""Who keeps what the tasks of one process hold: in folders, by one writer. Knows nothing of jobs."""

import os
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from pykka import ActorRef

from cluster.checkpoints.call_journal import FolderCalls
from cluster.checkpoints.disk import Disk, RealDisk
from cluster.checkpoints.folder import CheckpointFolder
from cluster.checkpoints.from_tables import in_memory
from cluster.checkpoints.joining import state_from_pieces
from cluster.checkpoints.manifest import SavedTask
from cluster.checkpoints.pieces import PieceEncoder, frozen
from cluster.checkpoints.post_log import FolderPosts
from cluster.checkpoints.restoring import state_for_task
from cluster.checkpoints.rocks import RocksTables
from cluster.checkpoints.writer import PartWriter, SavedChain, SaveState
from cluster.runtime.actor import tell
from cluster.runtime.messages import TaskFact, TaskSaved, TaskSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import Keeping, StateKeeper, TaskState
from cluster.runtime.scheduler import Scheduler
from operators.state import StepState
from operators.tables import Tables
from sage.base.clock import Clock
from sage.base.errors import CheckpointUnusable, InternalError
from sage.base.ids import new_id
from sage.flow.connectors.http_source import posted_to
from sage.flow.spec import ModelStep, holds_keys
from sage.flow.state_form import forms_of, undeclared


class Keepers:
    """Makes the keepers of tasks; its writer is started for the first of them."""

    def __init__(
        self,
        clock: Clock,
        *,
        open_disk: Callable[[str], Disk] = RealDisk,
        rng: Random | None = None,
        scheduler: Scheduler | None = None,
        keep_calls: bool = False,
        between: Callable[[], object] = lambda: None,
    ) -> None:
        """`keep_calls`: keep model calls too, in the folders of this machine.

        `between` is called by the writer between two slices of what it encodes.
        """
        self._between = between
        self._clock = clock
        self._keep_calls = keep_calls
        self._open_disk = open_disk
        self._rng = rng if rng is not None else Random()
        self._scheduler = scheduler
        self._writer: ActorRef[Any] | None = None
        self._prefix = new_id("node", self._rng, num_chars=8)
        self._num_tasks = 0

    def __call__(
        self, keeping: Keeping, types: RecordTypes, report: Callable[[TaskFact], None]
    ) -> Callable[[TaskSpec], StateKeeper]:
        """Return what makes the keeper of a task of one run; called on the node's thread."""
        if self._writer is None:
            self._writer = PartWriter.start(
                self._open_disk, clock=self._clock, rng=self._rng, scheduler=self._scheduler
            )
        begins_in = keeping.begins_in or keeping.folder
        writer, folder = self._writer, CheckpointFolder(self._open_disk(begins_in), begins_in)
        return lambda spec: FolderKeeper(
            SavedChain(spec.id, PieceEncoder(self._between)),
            spec,
            keeping,
            types,
            folder,
            writer=writer,
            report=report,
            calls=self._calls(spec, keeping),
            tables=self._tables(spec, keeping, types),
        )

    def _tables(self, spec: TaskSpec, keeping: Keeping, types: RecordTypes) -> Tables:
        self._num_tasks += 1
        prefix = f"{self._prefix}-{self._num_tasks}"
        instances = spec.chain.parallelism
        return RocksTables(keeping.folder, prefix, types, instance=spec.instance, num_instances=instances)

    def _calls(self, spec: TaskSpec, keeping: Keeping) -> FolderCalls | None:
        step = spec.chain.steps[0]
        if not self._keep_calls or step.turns is not None or not isinstance(step.spec, ModelStep):
            return None
        is_own = keeping.begins_in in ("", keeping.folder)
        return FolderCalls(keeping.folder, (keeping.begins_at or 0) if is_own else 0, spec)

    def actors(self) -> list[ActorRef[Any]]:
        """Return what is to be stopped at the end."""
        return [self._writer] if self._writer is not None else []


class FolderKeeper:
    """Keeps what one task holds; used by the task's thread. `tables`: where all state is in memory, to read from."""

    def __init__(
        self,
        chain: SavedChain,
        spec: TaskSpec,
        keeping: Keeping,
        types: RecordTypes,
        folder: CheckpointFolder,
        *,
        writer: ActorRef[Any],
        report: Callable[[TaskSaved], None],
        calls: FolderCalls | None,
        tables: Tables,
    ) -> None:
        self._spec = spec
        self._tables = tables
        self._calls = calls
        self._keeping = keeping
        self._types = types
        self._folder = folder
        self._writer = writer
        self._report = report
        self._chain = chain

    def saved(self) -> TaskState | None:
        """Return what the task goes on from, read and checked anew. Raises CheckpointUnusable."""
        if self._calls is not None:
            self._load_calls(self._calls)
        if self._keeping.begins_at is None:
            return None
        manifest = self._folder.manifest(self._keeping.begins_at)
        state = state_for_task(manifest, self._spec, self._load, self._keeping.lost)
        if state is None or not any(step.stored for step in state.steps.values()):
            return state
        now = forms_of(self._spec.chain.steps)
        undeclares = {name for name, form in now.items() if undeclared(manifest.forms.get(name), form)}
        steps = {name: replace(step, has_undeclared=name in undeclares) for name, step in state.steps.items()}
        return replace(state, steps={name: self._at_home(name, step) for name, step in steps.items()})

    def calls(self) -> FolderCalls | None:
        return self._calls

    def tables(self) -> Tables | None:
        return self._tables if self._keeping.state == "rocksdb" else None

    def posts(self) -> FolderPosts | None:
        source = posted_to(self._spec.chain.steps[0].spec)
        if source is None:
            return None
        is_own = self._keeping.begins_in in ("", self._keeping.folder)
        return FolderPosts(self._keeping.folder, (self._keeping.begins_at or 0) if is_own else 0, source.name)

    def save(self, checkpoint_id: int | None, state: TaskState, *, commits: bool) -> None:
        """Raises RecordUnsendable for what cannot be saved."""
        settle = tuple(step.settle for step in state.steps.values() if step.settle is not None)
        if self._calls is not None and checkpoint_id is not None:
            self._calls.cut(checkpoint_id)
        encoder = self._chain.encoder
        kept = frozen(state, self._types, is_whole=encoder.is_due(), plain=encoder.plain())
        wanted = SaveState(self._keeping.folder, self._chain, checkpoint_id, kept, settle, commits, self._report)
        if not tell(self._writer, wanted):
            error = InternalError("the checkpoint writer has ended")
            self._report(TaskSaved(self._spec.id, checkpoint_id, None, error=error))

    def _load_calls(self, calls: FolderCalls) -> None:
        try:
            calls.load()
        except OSError as error:
            raise CheckpointUnusable(
                f"the journal of model calls in {self._keeping.folder} cannot be read: {error.strerror}",
                'Check the folder and its permissions, or begin anew: resume="never".',
            ) from error

    def _load(self, task: SavedTask) -> TaskState:
        pieces = [self._folder.piece(piece) for piece in task.pieces if not piece.is_store]
        state = state_from_pieces(pieces, self._types)
        return replace(state, steps={name: self._placed(step) for name, step in state.steps.items()})

    def _at_home(self, name: str, step: StepState) -> StepState:
        """Read the tables of a step that keeps all in memory now; leave those of others, which take them up."""
        spilling = self._keeping.state == "rocksdb" and any(
            each.name == name and holds_keys(each.spec) for each in self._spec.chain.steps
        )
        return step if spilling or not step.stored else in_memory(step, self._tables.open(name))

    def _placed(self, step: StepState) -> StepState:
        """Say where on this machine the tables of a step are."""
        if not step.stored:
            return step
        folder = self._keeping.begins_in or self._keeping.folder
        return replace(step, stored=[(os.path.join(folder, name), instances) for name, instances in step.stored])
