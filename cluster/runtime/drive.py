"""Drives one machine: feeds it, obeys it, ends it. Knows neither threads nor transport; whoever calls it has hands.

Everything happens within calls of its methods, on one thread. A method raises what the machine or the source raised;
`give_up` is then the one thing left to call.
"""

from collections.abc import Callable, Sequence
from enum import Enum, auto

from cluster.runtime.answers import Answers
from cluster.runtime.coming_back import ComingBack
from cluster.runtime.commits import Commits
from cluster.runtime.drive_ports import Hands, Workshop
from cluster.runtime.due_marks import dues_of
from cluster.runtime.gauge import Gauge
from cluster.runtime.holdings import Holdings
from cluster.runtime.idleness import IDLE_TIMER, Idleness
from cluster.runtime.inputs import Inputs
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, TaskMessage
from cluster.runtime.messages import TaskDrained, TaskFinished, TaskOpened, TaskSaved, TaskSpec
from cluster.runtime.obeying import Obeying
from cluster.runtime.outputs import Outputs, Split
from cluster.runtime.pace import ReadPace
from cluster.runtime.saving import CheckpointStage, StateKeeper
from cluster.runtime.source import READ_TIMER, TaskSource
from operators.machine import CallResult, Command, DeadLetter, InParts, LoopMachine, Machine, Withdraw
from sage.base.batch import Batch
from sage.base.clock import Clock
from sage.base.inference import Reply
from sage.base.settings import RuntimeSettings


class _Phase(Enum):
    OPENING = auto()
    RUNNING = auto()
    ENDED = auto()  # the machine was told that its input is over
    CLOSED = auto()  # the machine is closed; its last output may still wait for credit
    OVER = auto()


class Drive:
    """One instance of a chain at work. Takes no input while output waits for credit or the machine has no room."""

    def __init__(
        self,
        spec: TaskSpec,
        hands: Hands,
        gauge: Gauge,
        *,
        split: Split,
        settings: RuntimeSettings,
        clock: Clock,
        keeper: StateKeeper | None = None,
    ) -> None:
        """`keeper`: keeps what is held; None where no checkpoint is ever taken."""
        self._spec = spec
        self._hands = hands
        self._gauge = gauge
        self._clock = clock
        self._inputs = Inputs([each for each in spec.inputs if not each.is_back], num_batches=settings.inbox_batches)
        self._back = ComingBack(spec.inputs, num_batches=settings.inbox_batches)
        self._outputs = Outputs(
            spec.outputs,
            hands.send,
            split,
            num_batches=settings.inbox_batches,
            max_records=settings.batch_records,
        )
        self._pace = ReadPace(settings.batch_records)
        self._phase = _Phase.OPENING
        self._machine: Machine | None = None
        self._loop: LoopMachine | None = None  # the same, where a loop begins here
        self._parts: InParts | None = None  # the same, where it may have much to say at once
        self._source = TaskSource(spec, dues_of(spec, clock.unix_s))
        self._checkpoints = Answers()
        self._commits = Commits()
        self._keeper = keeper
        self._first_commands: list[Command] = []
        self._obeying = Obeying(spec, hands, self._outputs, gauge)
        self._holdings = Holdings(
            keeper, source=self._source, inputs=self._inputs, obeying=self._obeying, commits=self._commits
        )
        self._idleness = Idleness(spec.chain, clock, hands.set_timer, self._say_idle)

    @property
    def is_over(self) -> bool:
        return self._phase is _Phase.OVER

    @property
    def machine(self) -> Machine | None:
        """The machine, on the task's thread alone; None before it is open and once it is closed."""
        return self._machine

    def open(self, workshop: Workshop) -> None:
        """Make the machine, open source and sink, and say so."""
        machine = self._machine = workshop.machine(self._spec, self._keeper.tables() if self._keeper else None)
        saved = self._keeper.saved() if self._keeper is not None else None
        self._loop = machine if isinstance(machine, LoopMachine) else None
        self._parts = machine if isinstance(machine, InParts) else None
        self._holdings.open_source(workshop, saved, machine)
        self._source.keep_in(self._keeper.posts() if self._keeper is not None else None)
        self._source.wake_by(self._hands.wake)
        self._gauge.url = self._source.url
        self._gauge.counts = machine.counts
        if saved is None:
            machine.open()
        else:
            self._first_commands = self._holdings.take_up(saved, machine)
        self._hands.report(TaskOpened(self._spec.id, self._source.listing))

    def begin(self) -> None:
        """Every task of the job is open: from now on `step` works."""
        if self._phase is _Phase.OPENING:
            self._phase = _Phase.RUNNING
            commands, self._first_commands = self._first_commands, []
            self._obeying.obey(commands)
            self._source.begin()
            self._idleness.came()

    def arrive(self, message: TaskMessage) -> None:
        match message:
            case _ if self._loop is not None and self._back.takes(message.link):
                self._back.arrive(message)
            case Delivery():
                self._inputs.add(message)
            case Idle():
                self._inputs.idle(message)
            case Barrier():
                self._inputs.bar(message)
            case End():
                self._inputs.end(message)
            case Grant():
                self._outputs.grant(message, self._clock.monotonic_s())
        self._gauge.num_waiting = self._inputs.num_waiting + self._back.num_waiting

    def reply(self, replies: Sequence[Reply]) -> None:
        if replies:
            self._work(lambda machine: machine.on_replies(replies))

    def result(self, results: Sequence[CallResult]) -> None:
        if results:
            self._work(lambda machine: machine.on_results(results))

    def fire(self, timer_id: int) -> None:
        if timer_id == IDLE_TIMER:
            self._idleness.look()
        elif timer_id == READ_TIMER:
            self._source.is_paused = False
        else:
            self._work(lambda machine: machine.on_timer(timer_id))

    def step(self) -> bool:
        """Do one piece of work: a read, a batch, or one more move towards the end. False where there is nothing now."""
        if self._loop is not None and self._phase is not _Phase.OPENING and self._come_round(self._loop):
            return True  # also while output waits for credit: a loop must not wait for itself
        if self._outputs.is_stalled():
            return False
        match self._phase:
            case _Phase.RUNNING:
                return self._answer_checkpoint() or self._go_on() or self._take_input() or self._end()
            case _Phase.ENDED:
                return self._answer_checkpoint() or self._go_on() or self._close_machine()
            case _Phase.CLOSED:
                return self._finish()
            case _Phase.OPENING | _Phase.OVER:
                return False

    def give_up(self) -> list[Exception]:
        """Let go of source, sink and what is in flight; return what failed on the way. Nothing is done any more."""
        self._phase = _Phase.OVER
        failed: list[Exception] = []
        for let_go in (self._source.close, self._abandon_machine):
            try:
                let_go()
            except Exception as error:  # noqa: BLE001 - a sink of the user's may raise anything; the rest goes on
                failed.append(error)
        return failed

    # Checkpoints.

    def checkpoint(self, checkpoint_id: int, stage: CheckpointStage) -> None:
        """Hear of a checkpoint. `step` answers it where no barrier will come, since this reads or all has ended."""
        match stage:
            case CheckpointStage.TAKE:
                self._checkpoints.want(checkpoint_id)
            case CheckpointStage.DROP:
                if self._checkpoints.drop(checkpoint_id):
                    self._inputs.drop()
                    self._go_round()
            case CheckpointStage.COMMIT:
                for commit in self._commits.complete(checkpoint_id):
                    commit()
            case CheckpointStage.PAUSE | CheckpointStage.GO_ON:
                self._source.is_held = stage is CheckpointStage.PAUSE

    def _answer_checkpoint(self) -> bool:
        """Save and pass the barrier on, where it is time."""
        aligned = self._inputs.aligned()
        if aligned is None and self._checkpoints.wanted is None:
            return False
        is_alone = self._source.is_open or self._inputs.is_over()
        checkpoint_id = self._checkpoints.due(aligned, is_alone=is_alone)
        if checkpoint_id is None or self._machine is None:
            return False
        if self._loop is not None and not self._back.has_come_round:
            return self._send_round(checkpoint_id, self._loop)
        if self._checkpoints.answer(checkpoint_id):
            self._hands.report(TaskSaved(self._spec.id, checkpoint_id, None))
        else:
            self._holdings.save(checkpoint_id, self._machine)
        self._inputs.release()
        if self._back.is_awaited:
            self._back.release()
            self._go_round()
        else:
            self._outputs.barrier(checkpoint_id)
        return True

    def _send_round(self, checkpoint_id: int, loop: LoopMachine) -> bool:
        """Send a barrier through the body of a loop, and keep what comes out before it: the snapshot has that too."""
        if not self._back.send(checkpoint_id):
            return False
        if not self._checkpoints.is_dropped(checkpoint_id):
            loop.hold()
        self._outputs.barrier(checkpoint_id)
        return True

    def _go_round(self) -> None:
        """Let what was kept go on, in a loop."""
        if (loop := self._loop) is not None:
            self._work(lambda _: loop.release())

    # Input.

    def _come_round(self, loop: LoopMachine) -> bool:
        """Take what comes out of a loop's body: records, or the barrier that went in."""
        if (came := self._back.take()) is None:
            return self._back.has_come_round and self._answer_checkpoint()
        batch, grant = came
        self._work(lambda _: loop.on_back(batch))
        if grant is not None:
            self._hands.send(grant)
        return True

    def _go_on(self) -> bool:
        """Let the machine say more of what it has to say, where it says that in parts."""
        if (parts := self._parts) is None or not parts.goes_on:
            return False
        self._work(lambda _: parts.go_on())
        return True

    def _take_input(self) -> bool:
        machine = self._machine
        if machine is None or self._inputs.is_awaiting():
            return False
        num_free = machine.room()
        if num_free <= 0:
            return False
        if self._source.is_open:
            return not (self._source.is_paused or self._source.is_held) and self._read(machine, num_free)
        if not self._inputs.has_batch():
            return False
        batch, grant = self._inputs.take()
        self._gauge.num_waiting = self._inputs.num_waiting
        self._feed(machine, batch, self._clock.monotonic_s())
        if grant is not None:
            self._hands.send(grant)
        return True

    def _read(self, machine: Machine, num_free: int) -> bool:
        before_s = self._clock.monotonic_s()
        values = self._source.read(min(self._pace.num_records, num_free))
        if values is None:
            self._hands.report(TaskDrained(self._spec.id))
            return True
        if not values and self._source.rests(self._hands.set_timer):
            return False
        watermark_s = self._source.watermark_s()
        now_s = self._clock.monotonic_s()
        self._pace.was_read(len(values), now_s - before_s)
        self._feed(machine, Batch(values, None, None, watermark_s), now_s)
        return True

    def _feed(self, machine: Machine, batch: Batch, now_s: float) -> None:
        """Give a batch to the machine: as `_work`, with one look at the clock less."""
        commands = machine.on_batch(batch)
        self._gauge.busy_s += self._clock.monotonic_s() - now_s
        if commands:
            self._obeying.obey(commands)
        self._idleness.came(len(batch.values))

    def _pass_idleness(self) -> bool:
        if self._inputs.is_idle():
            self._say_idle()
        return False

    def _say_idle(self) -> bool:
        """Tell the receivers, unless records could not have come, or one is on its way through here."""
        machine = self._machine
        if self._phase is not _Phase.RUNNING or machine is None or self._inputs.is_awaiting() or self._source.is_held:
            return False
        return machine.is_done() and not self._inputs.has_batch() and self._outputs.idle()

    # The end.

    def _end(self) -> bool:
        return self._end_input() or self._pass_idleness()

    def _end_input(self) -> bool:
        if self._source.is_open or not self._inputs.is_over():
            return False
        self._phase = _Phase.ENDED
        if not self._holdings.has_ended:
            self._holdings.has_ended = True
            self._work(lambda machine: machine.on_end())
        return True

    def _close_machine(self) -> bool:
        machine = self._machine
        if machine is None or not machine.is_done() or self._back.is_awaited:
            return False
        self._holdings.save_last(machine)
        if self._commits.is_awaiting_last:
            return False
        self._phase, self._machine, self._loop, self._parts = _Phase.CLOSED, None, None, None
        self._obeying.obey(machine.close(complete=True))
        return True

    def _finish(self) -> bool:
        self._phase = _Phase.OVER
        self._outputs.end()
        self._hands.report(TaskFinished(self._spec.id))
        return True

    def _abandon_machine(self) -> None:
        machine, self._machine = self._machine, None
        if machine is not None:
            commands = machine.close(complete=False)
            self._obeying.obey([command for command in commands if isinstance(command, Withdraw | DeadLetter)])

    def _work(self, work: Callable[[Machine], list[Command]]) -> None:
        machine = self._machine
        if machine is None:
            return  # closed: what still comes is too late
        before_s = self._clock.monotonic_s()
        commands = work(machine)
        self._gauge.busy_s += self._clock.monotonic_s() - before_s
        self._obeying.obey(commands)
