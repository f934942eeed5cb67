"""ChatTurns record-wise operations into the source of one loop over a batch. Knows nothing of what a failure means."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import length_hint
from typing import Any

import msgspec

from operators.accumulate import MISSING, update_lines
from operators.by_key import ByKey
from operators.event_clock import EventClock
from operators.failure import GENERATED
from operators.keycode import NAN, PLAIN_KEYS, sound_key
from operators.listed import FLAT_MAP, ONE_RECORD, refuse_one_record
from operators.partition_clock import PartitionClock
from operators.sides import Sides
from operators.split_clock import SplitClock
from operators.state import Stateful
from operators.timed_state import TimedState
from sage.flow.graph import OnError, Step
from sage.flow.spec import (
    Aggregate,
    AsOf,
    AssignTimestamps,
    Filter,
    FlatMap,
    Fold,
    ForEach,
    KeyBy,
    Map,
    Process,
    Reduce,
    Split,
    Window,
    Within,
)

Timed = Window | Process | Within | AsOf
PerRecord = AssignTimestamps | Map | Filter | FlatMap | Split | KeyBy | Aggregate | Reduce | Fold | Timed | ForEach
Keyed = Aggregate | Reduce | Fold


@dataclass(frozen=True, slots=True)
class Operation:
    """What `spec` does to each record, on behalf of `step`.

    `state` has the value of each key, for those that aggregate: shared by every loop that holds the operation. So are
    `clock`, of what assigns timestamps, `timed`, of windows and the like, and `sides`. `is_paired`: what it is given is
    `(record, something)`; only the record is shown to users.
    """

    step: Step
    spec: PerRecord
    is_paired: bool = False
    state: ByKey = field(default_factory=ByKey)
    clock: EventClock | PartitionClock | SplitClock | None = None
    timed: TimedState | None = None
    sides: Sides | None = None

    def needs_key(self) -> bool:
        return isinstance(self.spec, Keyed | Timed)

    def stateful(self) -> Stateful | None:
        """Return what holds something from one batch to the next."""
        return self.clock or self.timed or (self.state if self.needs_key() else None)

    def holds_back(self) -> bool:
        """Say whether it lets nothing out until the end of the stream."""
        return isinstance(self.spec, Keyed) and self.spec.final

    def ends_loop(self) -> bool:
        """Say whether what follows needs a loop of its own: one record in, any number out, or none yet."""
        return isinstance(self.spec, FlatMap | Timed) or self.holds_back()


class Output(msgspec.Struct, eq=False):
    """What a loop appends to: values and, where its output has them, keys and timestamps.

    A Struct: one is made for each batch, and a dataclass takes twice as long to make.
    """

    values: list[Any] = msgspec.field(default_factory=list)
    keys: list[Hashable] = msgspec.field(default_factory=list)
    timestamps_s: list[float] = msgspec.field(default_factory=list)


Recover = Callable[[Exception, Any, Hashable, Any, int, Output], None]
"""Called after a record failed: error, the failing operation's input, key, timestamp, record number, and output."""

LoopFunction = Callable[
    [Sequence[Any], Sequence[Hashable] | None, Sequence[float] | None, Output, int, Recover],
    None,
]
"""`loop(values, keys, timestamps_s, output, num_before, recover)`."""


@dataclass(frozen=True, slots=True)
class Generated:
    """A compiled loop and, for each line of its source, the operation that stands there."""

    source: str
    function: LoopFunction
    operation_at: dict[int, int]


def takes_keys(operations: Sequence[Operation]) -> bool:
    """Say whether the loop needs the keys of its input: it aggregates before it makes keys of its own."""
    for operation in operations:
        if operation.needs_key():
            return True
        if isinstance(operation.spec, KeyBy):
            return False
    return False


def gives_keys(operations: Sequence[Operation]) -> bool:
    """Say whether the loop's output is keyed."""
    return isinstance(operations[-1].spec, KeyBy)


def gives_times(operations: Sequence[Operation]) -> bool:
    """Say whether the loop's output has timestamps whatever its input has."""
    return any(isinstance(operation.spec, AssignTimestamps) for operation in operations)


def generate(operations: Sequence[Operation], *, timed: bool = False) -> Generated:
    """Return the loop over `operations`; `timed`: over records with timestamps.

    A try around the loop costs nothing while nothing fails. The iterator outlives a failure, so that the loop goes on
    with the record after it; the line that raised says which operation it was. Names are bound as defaults: a local
    is the fastest that Python reads.
    """
    names: dict[str, Any] = {"MISSING": MISSING, "length_hint": length_hint}
    before: list[str] = []
    after: list[str] = []
    body: list[str] = []
    owner_of_line: list[int] = []
    for number, operation in enumerate(operations):
        lines = _lines(number, operation, names, before, after)
        body.extend(lines)
        owner_of_line.extend([number] * len(lines))
    last = operations[-1]
    if body[-1].startswith("x = "):
        body[-1] = f"out.append({body[-1].removeprefix('x = ')})"
    elif not last.ends_loop():
        body.append("out.append(x)")
    if gives_keys(operations):
        body.append("out_keys.append(key)")
    if (timed or gives_times(operations)) and not last.holds_back():
        body.append(
            "out_times.extend([t] * (len(out) - len(out_times)))" if last.ends_loop() else "out_times.append(t)"
        )
    columns = ["x", *(["key"] if takes_keys(operations) else []), *(["t"] if timed else [])]
    head = _head(names, before, columns, partial=_may_be_partial(last))
    tail = _tail(after, partial=_may_be_partial(last))
    source = "\n".join([*head, *(" " * 16 + line for line in body), *tail])
    scope: dict[str, Any] = {"__name__": __name__, **names}
    exec(compile(source, GENERATED, "exec"), scope)  # noqa: S102 - our own text: users' functions enter as values
    first_line = len(head) + 1
    return Generated(source, scope["loop"], {first_line + at: owner for at, owner in enumerate(owner_of_line)})


def _may_be_partial(operation: Operation) -> bool:
    """Say whether a failure can leave pieces of the failing record in `out` and the stream goes on all the same."""
    return isinstance(operation.spec, FlatMap | Process) and operation.step.on_error is not OnError.FAIL


def _head(names: dict[str, Any], before: list[str], columns: list[str], *, partial: bool) -> list[str]:
    bound = ", ".join(f"{name}={name}" for name in names)
    inputs = ", ".join(["it", *(f"{name}s" for name in columns[1:])])
    return [
        f"def loop(values, keys, ts, output, num_before, recover, *, {bound}):",
        "    out, out_keys, out_times = output.values, output.keys, output.timestamps_s",
        "    key = t = None",
        *(f"    {line}" for line in before),
        "    it = iter(values)",
        "    rows = it" if inputs == "it" else f"    rows = zip({inputs}, strict=True)",
        "    while True:",
        "        try:",
        f"            for {', '.join(columns)} in rows:",
        *(["                num_whole = len(out)"] if partial else []),
    ]


def _tail(after: list[str], *, partial: bool) -> list[str]:
    return [
        *(f"            {line}" for line in after),
        "            return",
        "        except Exception as error:",
        "            failed = error",
        *(["        del out[num_whole:]"] if partial else []),
        *(f"        {line}" for line in after),
        "        recover(failed, x, key, t, num_before + len(values) - length_hint(it), output)",
        "        failed = None",
    ]


def _lines(number: int, operation: Operation, names: dict[str, Any], before: list[str], after: list[str]) -> list[str]:
    """Return the lines that turn `x` (and `key`, and its time `t`) into the operation's result.

    Binds what they call in `names`, and adds what is done `before` and `after` a loop over records.
    """
    spec, fn = operation.spec, f"f{number}"
    match spec:
        case Map() | ForEach():
            names[fn] = spec.fn
            return [f"x = {fn}(x)"]
        case Filter():
            names[fn] = spec.fn
            return [f"if not {fn}(x): continue"]
        case KeyBy():
            return _key_lines(fn, spec, operation.step, names)
        case FlatMap():
            names |= {fn: spec.fn, "ONE_RECORD": ONE_RECORD, "refuse_one": partial(refuse_one_record, by=FLAT_MAP)}
            is_one = "many.__class__ is not list and type(many) in ONE_RECORD"  # a list, most of all, at half the cost
            return [f"many = {fn}(x)", f"if {is_one}: refuse_one(many)", "out.extend(many)"]
        case AssignTimestamps():
            assert operation.clock is not None
            ahead, lines, behind = operation.clock.lines(number, spec, names)
            before.extend(ahead)
            after.extend(behind)
            return lines
        case Split():
            return _split(number, spec, operation.sides, names)
        case Window() | Process() | Within() | AsOf():
            assert operation.timed is not None
            ahead, lines = operation.timed.lines(number, names)
            before.extend(ahead)
            return lines
        case Aggregate() | Reduce() | Fold():
            state, values = f"s{number}", operation.state.values
            names |= {state: values, f"get_{state}": values.get}
            lines = update_lines(
                spec, number, names, old=f"get_{state}(key, {{}})", keep=f"{state}[key] = v", gives_value=True
            )
            if operation.state.marks is not None and operation.state.marks.is_on:
                names[f"mark{number}"] = operation.state.marks.add
                lines.insert(0, f"mark{number}(key)")
            return [*lines, *([] if spec.final else ["x = (key, v)"])]


def _key_lines(fn: str, spec: KeyBy, step: Step, names: dict[str, Any]) -> list[str]:
    """A key that is none is refused here where the step has a policy for it; else by whoever parts the stream."""
    names |= {fn: spec.fn, "NAN": NAN}
    lines = [f"key = {fn}(x)", "if type(key) is float and key != key: key = NAN"]
    if step.on_error is OnError.FAIL:
        return lines
    names |= {"PLAIN_KEYS": PLAIN_KEYS, "sound_key": sound_key}
    return [*lines, "if type(key) not in PLAIN_KEYS: sound_key(key)"]


def _split(number: int, spec: Split, sides: Sides | None, names: dict[str, Any]) -> list[str]:
    assert sides is not None
    lines: list[str] = []
    for at, (tag, predicate) in enumerate(zip(spec.tags, spec.predicates, strict=True)):
        holds, aside = f"f{number}_{at}", f"aside{number}_{at}"
        names |= {holds: predicate, aside: sides.adder(tag)}
        lines += [f"if {holds}(x):", f"    {aside}(x, t)", "    continue"]
    return lines
