"""Turns record-wise operations into the source of one loop over a batch. Knows nothing of what a failure means."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from operator import length_hint
from typing import Any

from operators.failure import GENERATED
from operators.state import ByKey
from sage.flow.graph import OnError, Step
from sage.flow.spec import Aggregate, Filter, FlatMap, Fold, ForEach, KeyBy, Map, Reduce

PerRecord = Map | Filter | FlatMap | KeyBy | Aggregate | Reduce | Fold | ForEach
Keyed = Aggregate | Reduce | Fold


@dataclass(frozen=True, slots=True)
class Operation:
    """What `spec` does to each record, on behalf of `step`.

    `state` has the value of each key, for those that aggregate: shared by every loop that holds the operation.
    `is_paired`: what it is given is `(record, something)`; only the record is shown to users.
    """

    step: Step
    spec: PerRecord
    is_paired: bool = False
    state: ByKey = field(default_factory=ByKey)

    def needs_key(self) -> bool:
        return isinstance(self.spec, Keyed)

    def holds_back(self) -> bool:
        """Say whether it lets nothing out until the end of the stream."""
        return isinstance(self.spec, Keyed) and self.spec.final

    def ends_loop(self) -> bool:
        """Say whether what follows needs a loop of its own: one record in, any number out, or none yet."""
        return isinstance(self.spec, FlatMap) or self.holds_back()


@dataclass(frozen=True, slots=True)
class Output:
    """What a loop appends to: values and, where its output has them, keys and timestamps."""

    values: list[Any] = field(default_factory=list)
    keys: list[Hashable] = field(default_factory=list)
    timestamps_s: list[float] = field(default_factory=list)


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


def generate(operations: Sequence[Operation], *, timed: bool = False) -> Generated:
    """Return the loop over `operations`; `timed`: over records with timestamps.

    A try around the loop costs nothing while nothing fails. The iterator outlives a failure, so that the loop goes on
    with the record after it; the line that raised says which operation it was. Names are bound as defaults: a local
    is the fastest that Python reads.
    """
    names: dict[str, Any] = {"MISSING": object(), "length_hint": length_hint}
    body: list[str] = []
    owner_of_line: list[int] = []
    for number, operation in enumerate(operations):
        lines = _lines(number, operation, names)
        body.extend(lines)
        owner_of_line.extend([number] * len(lines))
    last = operations[-1]
    if body[-1].startswith("x = "):
        body[-1] = f"out.append({body[-1].removeprefix('x = ')})"
    elif not last.ends_loop():
        body.append("out.append(x)")
    if gives_keys(operations):
        body.append("out_keys.append(key)")
    if timed and not last.holds_back():
        body.append(
            "out_times.extend([t] * (len(out) - len(out_times)))" if last.ends_loop() else "out_times.append(t)"
        )
    head = _head(names, keyed=takes_keys(operations), timed=timed, partial=_may_be_partial(last))
    tail = _tail(partial=_may_be_partial(last))
    source = "\n".join([*head, *(" " * 16 + line for line in body), *tail])
    scope: dict[str, Any] = {"__name__": __name__, **names}
    exec(compile(source, GENERATED, "exec"), scope)  # noqa: S102 - our own text: users' functions enter as values
    first_line = len(head) + 1
    return Generated(source, scope["loop"], {first_line + at: owner for at, owner in enumerate(owner_of_line)})


def _may_be_partial(operation: Operation) -> bool:
    """Say whether a failure can leave pieces of the failing record in `out` and the stream goes on all the same."""
    return isinstance(operation.spec, FlatMap) and operation.step.on_error is not OnError.FAIL


def _head(names: dict[str, Any], *, keyed: bool, timed: bool, partial: bool) -> list[str]:
    bound = ", ".join(f"{name}={name}" for name in names)
    columns = {"x": "it"} | ({"key": "keys"} if keyed else {}) | ({"t": "times"} if timed else {})
    rows = "it" if len(columns) == 1 else f"zip({', '.join(columns.values())}, strict=True)"
    return [
        f"def loop(values, keys, times, output, num_before, recover, *, {bound}):",
        "    out, out_keys, out_times = output.values, output.keys, output.timestamps_s",
        "    key = t = None",
        "    it = iter(values)",
        f"    rows = {rows}",
        "    while True:",
        "        try:",
        f"            for {', '.join(columns)} in rows:",
        *(["                num_whole = len(out)"] if partial else []),
    ]


def _tail(*, partial: bool) -> list[str]:
    return [
        "            return",
        "        except Exception as error:",
        "            failed = error",
        *(["        del out[num_whole:]"] if partial else []),
        "        recover(failed, x, key, t, num_before + len(values) - length_hint(it), output)",
        "        failed = None",
    ]


def _lines(number: int, operation: Operation, names: dict[str, Any]) -> list[str]:
    """Return the lines that turn `x` (and `key`) into the operation's result; binds what they call in `names`."""
    spec, fn, state = operation.spec, f"f{number}", f"s{number}"
    if not isinstance(spec, Aggregate):
        names[fn] = spec.fn
    match spec:
        case Map() | ForEach():
            return [f"x = {fn}(x)"]
        case Filter():
            return [f"if not {fn}(x): continue"]
        case KeyBy():
            return [f"key = {fn}(x)"]
        case FlatMap():
            return [f"out.extend({fn}(x))"]
        case Aggregate() | Reduce() | Fold():
            names[state], names[f"get_{state}"] = operation.state.values, operation.state.values.get
            result = [] if spec.final else ["x = (key, v)"]
            return [*_update(spec, number, names), *result]


def _update(spec: Keyed, number: int, names: dict[str, Any]) -> list[str]:
    """Return the lines that put the new aggregate into `v` and, last, into the state: a failure changes nothing."""
    fn, state, look_up = f"f{number}", f"s{number}", f"get_s{number}"
    old, keep = f"old = {look_up}(key, MISSING)", f"{state}[key] = v"
    match spec:
        case Aggregate(kind="count"):
            return [f"{state}[key] = v = {look_up}(key, 0) + 1"]
        case Aggregate(kind=kind, of=of):
            if of is not None:
                names[fn] = of
            wins = {
                "sum": "if old is not MISSING: v = old + v",
                "min": "if old is not MISSING and not v < old: v = old",
                "max": "if old is not MISSING and not v > old: v = old",
            }[kind]
            return ["v = x" if of is None else f"v = {fn}(x)", old, wins, keep]
        case Reduce():
            return [old, f"v = x if old is MISSING else {fn}(old, x)", keep]
        case Fold(initial=initial):
            names[f"m{number}"] = initial if callable(initial) else lambda: initial
            return [old, f"if old is MISSING: old = m{number}()", f"v = {fn}(old, x)", keep]
