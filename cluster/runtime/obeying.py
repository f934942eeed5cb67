"""Does what a machine wants done: sends batches, asks, calls, sets timers and records aside. Knows no machine."""

from collections.abc import Sequence

from cluster.runtime.drive_ports import Hands
from cluster.runtime.failures import dead_letter_record, lineage_of
from cluster.runtime.gauge import Gauge
from cluster.runtime.letter_ids import letter_id
from cluster.runtime.messages import TaskSetAside, TaskSpec
from cluster.runtime.outputs import Outputs
from operators.machine import Ask, Call, Command, DeadLetter, Emit, FreePermit, SetTimer, Withdraw


class Obeying:
    """For one task. `num_letters`: dead letters so far; `num_before`: records that were read in the runs before."""

    def __init__(self, spec: TaskSpec, hands: Hands, outputs: Outputs, gauge: Gauge) -> None:
        self._spec = spec
        self._hands = hands
        self._outputs = outputs
        self._gauge = gauge
        self._has_event_time = spec.chain.steps[0].inside is None  # in a loop's body watermarks count records
        self.num_letters = 0
        self.num_before = 0

    def obey(self, commands: Sequence[Command]) -> None:
        """Do all of it, in order; calls are made together, and letters are reported together."""
        calls: list[Call] = []
        num_freed = 0
        letters: list[DeadLetter] = []
        for command in commands:
            match command:
                case Emit(batch, side):
                    if batch.watermark_s is not None and side is None and self._has_event_time:
                        self._gauge.watermark_s = batch.watermark_s
                    self._outputs.emit(batch, side)
                case Ask(requests):
                    self._hands.ask(requests)
                case Withdraw(request_ids):
                    self._hands.withdraw(request_ids)
                case Call():
                    calls.append(command)
                case FreePermit():
                    num_freed += 1
                case SetTimer(timer_id, after_s):
                    self._hands.set_timer(timer_id, after_s)
                case DeadLetter():
                    letters.append(command)
        if calls:
            self._hands.call(calls)
        if num_freed:
            self._hands.free(num_freed)
        if letters:
            self._set_aside(letters)

    def _set_aside(self, letters: Sequence[DeadLetter]) -> None:
        records = []
        for letter in letters:
            self.num_letters += 1
            own_id = letter_id(self._spec.id, self.num_letters)
            record = dead_letter_record(own_id, letter, lineage_of(self._spec, letter, self.num_before))
            self._hands.keep_letter(record, letter)
            records.append(record)
        self._hands.report(TaskSetAside(self._spec.id, tuple(records)))
