"""What the state of a step is made of: a later run goes on with it where its step of that name has the same.

Knows nothing of what is kept, nor where.
"""

from collections.abc import Iterable

from sage.flow.graph import Step
from sage.flow.kinds import kind_of_step
from sage.flow.spec import (
    Aggregate,
    AsOf,
    AssignTimestamps,
    Combine,
    Embed,
    Fold,
    Gather,
    Generate,
    IndexInto,
    Iterate,
    JoinWindows,
    MapAsync,
    MapBatches,
    Over,
    Process,
    Read,
    Reduce,
    Rerank,
    Spec,
    Window,
    Within,
)
from sage.flow.state_form_value import StateForm
from sage.flow.windows import CountWindow, Session, Shape, Sliding, Tumbling

_TIMES = ("event time", "event time by partition")


def form_of_step(step: Step) -> StateForm | None:
    """Return the form of what `step` keeps; None where it keeps nothing that has one, or nobody here knows."""
    return _form_of(step.spec) if step.form is None else step.form if step.form.kind else None


def forms_of(steps: Iterable[Step]) -> dict[str, StateForm]:
    """Return the form of each step's state, by the names of those that have one."""
    return {step.name: form for step in steps if (form := form_of_step(step)) is not None}


def misfit(was: StateForm | None, now: StateForm | None) -> str | None:
    """Say why a step that is as `now` cannot go on with what it held as `was`; None where it can, or nobody knows.

    Users' functions, triggers, lateness, sides, whether a result is final, and the number of instances do not count:
    what is kept has the same meaning with others. A state that is new begins empty.
    """
    if was is None or (now is None and was.kind in _TIMES):
        return None
    if now is None or was.kind != now.kind:
        return f"held the state of {was.kind}, and is now {'a step without state' if now is None else now.kind}"
    declared = dict(now.states)
    for name, kind in was.states:
        if name in declared and declared[name] != kind:
            return f"held {name!r} as a {kind}, and it is now a {declared[name]}"
    return None


def undeclared(was: StateForm | None, now: StateForm | None) -> list[str]:
    """Return the states that a process had and declares no more."""
    if was is None or now is None or was.kind != now.kind:
        return []
    declared = dict(now.states)
    return [name for name, _ in was.states if name not in declared]


def _form_of(spec: Spec) -> StateForm | None:
    match spec:
        case Read(time=AssignTimestamps() as times) | (AssignTimestamps() as times):
            return StateForm(_TIMES[times.partition is not None])
        case Aggregate() | Reduce() | Fold():
            return StateForm(f"a running {kind_of_step(spec)}")
        case Window(shape=shape, over=over):
            return StateForm(f"{_over(over, shape)} by {_shape(shape)}")
        case JoinWindows(shape=shape):
            return StateForm(f"a join by {_shape(shape)}")
        case Within(before_s=before_s, after_s=after_s):
            return StateForm(f"a join within {_seconds(before_s)} before and {_seconds(after_s)} after")
        case AsOf():
            return StateForm("a join with a table")
        case Process(states=states):
            return StateForm("a process", states)
        case _:
            kind = _kind_of_held(spec)
            return None if kind is None else StateForm(kind)


def _kind_of_held(spec: Spec) -> str | None:
    """Return what a step holds that keeps no state of keys."""
    match spec:
        case MapAsync() | Generate() | Embed() | Rerank():
            return "records that wait for an answer"
        case MapBatches(max_wait_s=float() | int()):
            return "records that are gathered"
        case Iterate():
            return "a loop"
        case IndexInto():
            return "an index"
        case _:
            return None


def _over(over: Over, shape: Shape) -> str:
    match over:
        case Aggregate(kind=kind):
            return f"a {kind}"
        case Reduce():
            return "a reduce"
        case Combine(merge=merge):
            # Only where windows share records, or grow into one, do they keep something else without a merge.
            is_joined = merge is not None and isinstance(shape, Sliding | Session)
            return "an aggregate with merge" if is_joined else "an aggregate"
        case Gather():
            return "a collect"


def _shape(shape: Shape) -> str:
    match shape:
        case Tumbling(size_s=size_s):
            return f"windows of {_seconds(size_s)}"
        case Sliding(size_s=size_s, every_s=every_s) if size_s == every_s:
            return f"windows of {_seconds(size_s)}"
        case Sliding(size_s=size_s, every_s=every_s):
            return f"windows of {_seconds(size_s)} every {_seconds(every_s)}"
        case Session(gap_s=gap_s):
            return f"sessions with gaps of {_seconds(gap_s)}"
        case CountWindow(num_records=num_records):
            return f"windows of {num_records} records"


def _seconds(seconds: float) -> str:
    return f"{float(seconds)!r} s".replace(".0 s", " s")
