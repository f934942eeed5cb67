"""Random chains over random records, some of which fail: against an interpreter that takes record by record."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.machine import Command
from sage.base.batch import Batch
from sage.flow.graph import OnError, Step
from sage.flow.spec import Aggregate, Filter, FlatMap, Fold, KeyBy, Map, MapBatches, Reduce, Spec
from tests.unit.operators.arrange import dead_of, machine, step, values_of


def number_of(record: Any) -> int:
    """Any record as a number: pairs come from aggregates."""
    return sum(map(number_of, record)) if isinstance(record, tuple) else int(record)


@dataclass
class Faults:
    """Which calls of one step raise: the record's number modulo 5 is in `bad`, for the first `num_times` calls."""

    bad: frozenset[int]
    num_times: int
    calls: dict[int, int] = field(default_factory=dict)
    log: list[int] = field(default_factory=list)

    def strike(self, record: Any) -> None:
        number = number_of(record)
        self.log.append(number)
        if number % 5 in self.bad:
            num_calls = self.calls[number] = self.calls.get(number, 0) + 1
            if num_calls % (self.num_times + 1):
                raise ValueError(number)


@dataclass(frozen=True)
class Plan:
    """A step to be: its kind, where it fails, what becomes of it."""

    kind: str
    bad: frozenset[int]
    num_times: int
    retries: int

    def made(self, number: int) -> tuple[list[Step], Faults]:
        faults = Faults(self.bad, self.num_times)
        specs = SPECS[self.kind](faults)
        named = [
            step(spec, f"{number}-{at}", on_error=OnError.DEAD_LETTER, retries=self.retries)
            for at, spec in enumerate(specs)
        ]
        return named, faults


def struck(faults: Faults, fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(record: Any) -> Any:
        faults.strike(record)
        return fn(record)

    return call


def pieces(faults: Faults) -> Callable[[Any], Any]:
    def call(record: Any) -> Any:
        number = number_of(record)
        for at in range(number % 4):
            yield number + at
        faults.strike(record)

    return call


def key(record: Any) -> Hashable:
    return number_of(record) % 3


def folded(faults: Faults) -> Callable[[Any, Any], Any]:
    def call(old: int, record: Any) -> int:
        faults.strike(record)
        return old + number_of(record)

    return call


def reduced(faults: Faults) -> Callable[[Any, Any], Any]:
    def call(old: Any, record: Any) -> int:
        faults.strike(record)
        return number_of(old) + number_of(record)

    return call


SPECS: dict[str, Callable[[Faults], list[Spec]]] = {
    "map": lambda faults: [Map(struck(faults, lambda record: number_of(record) + 1))],
    "filter": lambda faults: [Filter(struck(faults, lambda record: number_of(record) % 3))],
    "flat_map": lambda faults: [FlatMap(pieces(faults))],
    "map_batches": lambda faults: [MapBatches(list, max_records=2)],
    "count": lambda faults: [KeyBy(struck(faults, key)), Aggregate("count")],
    "sum": lambda faults: [KeyBy(key), Aggregate("sum", of=struck(faults, number_of))],
    "max": lambda faults: [KeyBy(key), Aggregate("max", of=struck(faults, number_of))],
    "reduce": lambda faults: [KeyBy(key), Reduce(reduced(faults))],
    "fold": lambda faults: [KeyBy(key), Fold(int, folded(faults))],
    "count_final": lambda faults: [KeyBy(struck(faults, key)), Aggregate("count", final=True)],
    "fold_final": lambda faults: [KeyBy(key), Fold(int, folded(faults), final=True)],
}


@dataclass
class Oracle:
    """Takes one record at a time through the steps, the obvious way."""

    steps: list[Step]
    out: list[Any] = field(default_factory=list)
    dead: list[tuple[str, Any]] = field(default_factory=list)
    states: dict[str, dict[Hashable, Any]] = field(default_factory=dict)

    def push(self, at: int, record: Any, key: Hashable = None) -> None:
        if at == len(self.steps):
            self.out.append(record)
            return
        given_step = self.steps[at]
        state = self.states.setdefault(given_step.name, {})
        for num_left in range(given_step.retries, -1, -1):
            try:
                results, next_key = self.apply(given_step.spec, record, key, state)
                break
            except ValueError:
                if num_left == 0:
                    self.dead.append((given_step.name, record))
                    return
        for result in results:
            self.push(at + 1, result, next_key)

    def apply(self, spec: Spec, record: Any, key: Hashable, state: dict[Hashable, Any]) -> tuple[list[Any], Hashable]:
        match spec:
            case Map(fn):
                return [fn(record)], None
            case Filter(fn):
                return [record] if fn(record) else [], None
            case FlatMap(fn):
                return list(fn(record)), None
            case MapBatches():
                return [record], None
            case KeyBy(fn):
                return [record], fn(record)
            case Aggregate() | Reduce() | Fold():
                new = updated(spec, state, key, record)
                state[key] = new
                return [] if spec.final else [(key, new)], None
            case _:
                raise AssertionError(spec)

    def end(self) -> None:
        for at, given_step in enumerate(self.steps):
            if getattr(given_step.spec, "final", False):
                for key, value in self.states.get(given_step.name, {}).items():
                    self.push(at + 1, (key, value))


def updated(spec: Aggregate | Reduce | Fold, state: dict[Hashable, Any], key: Hashable, record: Any) -> Any:
    match spec:
        case Aggregate(kind="count"):
            return state.get(key, 0) + 1
        case Aggregate(kind=kind, of=of):
            value = record if of is None else of(record)
            if key not in state:
                return value
            return max(state[key], value) if kind == "max" else state[key] + value
        case Reduce(fn):
            return fn(state[key], record) if key in state else record
        case Fold(initial, fn):
            return fn(state.get(key, initial()), record)


PLANS = st.builds(
    Plan,
    st.sampled_from(sorted(SPECS)),
    st.frozensets(st.integers(0, 4), max_size=2),
    st.integers(1, 3),
    st.integers(0, 2),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PLANS, min_size=1, max_size=5), st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=4))
def test_a_fused_chain_does_what_one_record_at_a_time_would_do(plans: list[Plan], batches: list[list[int]]) -> None:
    made = [plan.made(number) for number, plan in enumerate(plans)]
    driven = machine(*(each for steps, _ in made for each in steps))
    commands: list[Command] = []
    for values in batches:
        commands += driven.on_batch(Batch(values))
    commands += driven.on_end()

    expected = [plan.made(number) for number, plan in enumerate(plans)]
    oracle = Oracle([each for steps, _ in expected for each in steps])
    for values in batches:
        for record in values:
            oracle.push(0, record)
    oracle.end()

    assert values_of(commands) == oracle.out
    dead = [(letter.step, letter.value) for letter in dead_of(commands)]
    assert sorted(dead, key=repr) == sorted(oracle.dead, key=repr)
    for (_, faults), (_, expected_faults) in zip(made, expected, strict=True):
        assert faults.log == expected_faults.log, "each step is called with the same records, equally often, in order"
