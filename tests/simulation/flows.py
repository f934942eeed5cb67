"""Random flows with steps that fail, ask models and call coroutines. Knows no runner."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import sage
from sage.flow.graph import OnError
from sage.flow.ports import Sink, SourceReader
from sage.flow.runner import DeadLetterRecord
from sage.flow.spec import Write
from tests.simulation import expected
from tests.simulation.coroutines import Pause
from tests.simulation.expected import Compute, Expected, Letters, LettersWrong, is_bad

CHAT, EMBED = "chat", "embed"

_KINDS = ("map", "filter", "flat_map", "union", "count", "spread", "batches", "buffer", "risky", "call", CHAT, EMBED)
_BREAKING_SHARE = 0.03
_SURVIVABLE_SHARE = 0.85
_RETRIES = 2

Outside = Callable[[int], Sink[int]]
"""Returns the sink of a stream that ends outside of the cluster."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A source of numbers in reads of any length; raises after `breaks_after` of them where that is not None.

    `rest` is called with the seconds that a read takes, `longest_s` at most.
    """

    items: tuple[int, ...]
    seed: int
    breaks_after: int | None
    longest_s: float = 0.0
    rest: Callable[[float], object] = lambda for_s: None

    def open(self) -> SourceReader[int]:
        return NumbersReader(self)


class NumbersReader:
    def __init__(self, source: Numbers) -> None:
        self._source = source
        self._rng = Random(source.seed)
        self._num_read = 0

    def read(self, max_records: int) -> Sequence[int] | None:
        if self._source.breaks_after is not None and self._num_read >= self._source.breaks_after:
            raise OSError("the simulation broke the source")
        self._source.rest(self._rng.random() * self._source.longest_s)
        start = self._num_read
        self._num_read += self._rng.randint(1, max_records)
        return self._source.items[start : self._num_read] or None

    def close(self) -> None:
        """Nothing to let go."""


def emptied(numbers: list[int]) -> list[int]:
    """Return the numbers in a list of their own, and spoil the one that was given: its receiver owns it."""
    copied = list(numbers)
    numbers.clear()
    return copied


class Risky:
    """Raises on bad numbers: always, or `num_failures` times before it works."""

    def __init__(self, num_failures: int | None) -> None:
        self._num_failures = num_failures
        self._num_calls: Counter[int] = Counter()

    def __call__(self, number: int) -> int:
        if is_bad(number):
            num_calls = self._num_calls[number]
            self._num_calls[number] += 1
            if self._num_failures is None or num_calls % (self._num_failures + 1) < self._num_failures:
                raise ValueError(f"{number} is bad")
        return number + 1


class RandomFlow:
    """A flow drawn from `rng`, and what must come of it. `violations`: what its own functions saw that must not be."""

    kinds: tuple[str, ...] = _KINDS
    collected_share = 0.6
    """Of streams that end in a list, where they could end outside."""

    def __init__(
        self,
        name: str,
        rng: Random,
        outside: Outside | None = None,
        *,
        longest_s: float = 0.0,
        rest: Callable[[float], object] = lambda for_s: None,
    ) -> None:
        """`outside`: where some of its streams end instead of a list. `longest_s`, `rest`: as of its sources."""
        self.flow = sage.Flow(name)
        self.violations: list[str] = []
        self.asks_models = False
        self.has_deadline = False  # so that requests may fail though nothing breaks
        self.needs_models = False  # so that a request that fails fails the job
        self.source_breaks = False
        self.num_source_records = 0
        self._rng = rng
        self._rests = (longest_s, rest)
        self._num_named = 0
        self._streams: list[Any] = []
        self._expected: list[Expected] = []
        self._setting_aside: set[str] = set()
        self._sinks: dict[int, Any] = {}
        self._draw(outside)
        self.outside = [number for number, sink in self._sinks.items() if sink is None]

    def _draw(self, outside: Outside | None) -> None:
        """Write the flow down."""
        rng = self._rng
        self._num_sources = rng.randint(1, 3)
        for _ in range(self._num_sources):
            self._add_source()
        read: set[int] = set()
        for _ in range(rng.randint(0, 8)):
            read |= self._add(rng.choice(self.kinds))
        ends = [number for number in range(len(self._streams)) if number not in read]
        self._sinks = {number: self._end(number, outside) for number in ends}

    def wrong(
        self,
        letters: Sequence[DeadLetterRecord],
        *,
        is_whole: bool,
        outside: Callable[[int], list[int]] = lambda number: [],
    ) -> list[str]:
        """Say what is wrong with sinks and dead letters; `is_whole`: the job ended well. `outside`: what is there."""
        by_step: dict[str, Counter[str]] = {}
        for letter in letters:
            by_step.setdefault(letter.step, Counter())[letter.value] += 1
        if by_step.keys() - self._setting_aside:
            return [f"dead letters of steps that set none aside: {by_step}"]
        try:
            streams, is_fatal = self._streams_as_lists(by_step if is_whole else None)
        except LettersWrong as error:
            return [str(error)]
        wrong = ["a record had to fail the job, and it finished"] if is_whole and is_fatal else []
        for number, sink in self._sinks.items():
            items = outside(number) if sink is None else sink._sink.items or []
            wrong += [f"sink of stream {number}: {what}" for what in self._wrong(number, items, streams, is_whole)]
        return wrong

    def must_fail(self) -> bool:
        """Say whether a record may fail the job, however well everything else goes."""
        return self._streams_as_lists(None)[1]

    @property
    def sets_aside(self) -> bool:
        """Say whether a record of it may become a dead letter."""
        return bool(self._setting_aside)

    def num_results(self) -> int:
        return sum(len(sink.items) for sink in self._sinks.values() if sink is not None)

    def _streams_as_lists(self, letters: Letters) -> tuple[list[list[int]], bool]:
        streams: list[list[int]] = []
        is_fatal = False
        for stream in self._expected:
            outcome = stream.compute([streams[number] for number in stream.inputs], letters)
            streams.append(outcome.numbers)
            is_fatal = is_fatal or outcome.is_fatal
        return streams, is_fatal

    def _wrong(self, number: int, items: list[int], streams: list[list[int]], is_whole: bool) -> list[str]:
        wanted = streams[number]
        if is_whole and self._expected[number].is_ordered:
            return [] if items == wanted else [f"{items} instead of {wanted}, in this order"]
        if is_whole:
            return [] if Counter(items) == Counter(wanted) else [f"{sorted(items)} instead of {sorted(wanted)}"]
        more = Counter(items) - Counter(wanted) if self._expected[number].is_partial else None
        return [f"{more} came twice or from nowhere"] if more else []

    def _end(self, number: int, outside: Outside | None) -> Any:
        """Let a stream end; return its list, or None where it ends outside."""
        if outside is None or self._rng.random() < self.collected_share:
            return self._streams[number].collect()
        self._streams[number]._end(Write(outside(number)))
        return None

    # Steps.

    def _add_source(self) -> None:
        rng = self._rng
        items = tuple(rng.sample(range(1000), rng.choice((0, 1, 5, 20, 60))))
        breaks_after = rng.randint(0, len(items)) if rng.random() < _BREAKING_SHARE else None
        self.source_breaks = self.source_breaks or breaks_after is not None
        self.num_source_records += len(items)
        self._streams.append(self._begin(Numbers(items, rng.getrandbits(32), breaks_after, *self._rests)))
        self._expected.append(Expected((), expected.given(items), is_ordered=True, is_partial=True))

    def _begin(self, numbers: Numbers) -> Any:
        return self.flow.from_source(numbers)

    def _add(self, kind: str) -> set[int]:
        """Add a step of this kind to some streams, and return their numbers."""
        first, second = (self._rng.randrange(len(self._streams)) for _ in range(2))
        stream, num = self._streams[first], self._rng.randint(1, 3)
        match kind:
            case "union" if first != second:
                both = self._expected[first].is_partial and self._expected[second].is_partial
                self._streams.append(stream.union(self._streams[second]))
                self._expected.append(Expected((first, second), expected.joined, is_ordered=False, is_partial=both))
                return {first, second}
            case "filter":
                self._grow(first, stream.filter(lambda n: n % 2 == 1), expected.odd)
            case "flat_map":
                flat = stream.flat_map(lambda n: (n, -n)).with_parallelism(num)
                self._grow(first, flat, expected.twofold, is_ordered=num == 1)
            case "count":
                pairs = stream.key_by(lambda n: n % 10).count(final=True).with_parallelism(num)
                numbers = pairs.map(lambda pair: pair[1])
                self._grow(first, numbers, expected.counted, is_ordered=False, is_partial=False)
            case "spread":
                spread = stream.map(lambda n: n + 1).with_parallelism(num)
                self._grow(first, spread, expected.plus_one, is_ordered=num == 1)
            case "batches":
                self._grow(first, stream.map_batches(emptied, max_records=num), expected.same)
            case "buffer":
                self._grow(first, stream.map_batches(emptied, max_records=4, max_wait_s=0.2), expected.same)
            case "risky":
                self._add_risky(first)
            case "call":
                self._add_call(first)
            case "chat" | "embed":
                self._add_asking(first, kind)
            case _:
                self._grow(first, stream.map(lambda n: n + 1), expected.plus_one)
        return {first}

    def _add_risky(self, first: int) -> None:
        num_failures = self._rng.choice((None, 1, _RETRIES))
        step, name, policy = self._set(self._streams[first].map(Risky(num_failures)), "risky", num_failures is None)
        dies = num_failures is None or policy is OnError.FAIL
        self._grow(first, step, expected.risked(name, policy, dies=dies))

    def _add_call(self, first: int) -> None:
        longest_s = self._rng.choice((0.0, 0.05))
        seed, risky = self._rng.getrandbits(32), Risky(None)
        rng, options = Random(seed), Random(seed + 1)

        async def call(number: int) -> int:
            await Pause(rng.random() * longest_s)
            return risky(number)

        is_ordered = options.random() < 0.7
        called = self._streams[first].map_async(
            call,
            max_in_flight=self._rng.choice((1, 4, 64)),
            ordered=is_ordered,
            backoff_s=options.choice((0.0, 0.2)),
            dedup=options.random() < 0.3,
        )
        step, name, policy = self._set(called, "call", True)
        self._grow(first, step, expected.risked(name, policy, dies=True), is_ordered=is_ordered)

    def _add_asking(self, first: int, kind: str) -> None:
        deadline_s = self._rng.choice((0.2, 3.0)) if self._rng.random() < 0.2 else None
        max_in_flight = self._rng.choice((1, 3, 64))
        stream = self._streams[first]
        asked = (
            self._chat(stream, deadline_s, max_in_flight)
            if kind == CHAT
            else stream.embed(
                model=EMBED,
                text=lambda n: f"text {n}",
                deadline_s=deadline_s,
                max_in_flight=max_in_flight,
                into=lambda n, vector: n,
            )
        )
        step, name, policy = self._set(asked, kind, self._rng.random() < 0.5)
        self.asks_models = True
        self.has_deadline = self.has_deadline or deadline_s is not None
        self.needs_models = self.needs_models or policy is not OnError.DEAD_LETTER
        num = self._rng.choice((1, 1, 2))
        self._grow(first, step.with_parallelism(num), expected.answered(name), is_ordered=num == 1)

    def _chat(self, stream: Any, deadline_s: float | None, max_in_flight: int) -> Any:
        num_tokens = self._rng.randint(1, 3)
        wanted = " ".join(f"simulated-{number}" for number in range(1, num_tokens + 1))

        def heard(number: int, reply: str) -> int:
            if reply != wanted:
                self.violations.append(f"record {number} was answered {reply!r} instead of {wanted!r}")
            return number

        return stream.generate(
            model=CHAT,
            prompt=lambda n: f"say {n}",
            max_tokens=num_tokens,
            deadline_s=deadline_s,
            max_in_flight=max_in_flight,
            priority=self._rng.choice(("interactive", "standard", "batch")),
            into=heard,
        )

    def _set(self, step: Any, kind: str, is_deadly: bool) -> tuple[Any, str, OnError]:
        """Name a step and give it a policy: where it is deadly, seldom one under which the job fails."""
        if is_deadly and self._rng.random() < _SURVIVABLE_SHARE:
            policy = OnError.DEAD_LETTER
        else:
            policy = self._rng.choice((OnError.FAIL, OnError.RETRY, OnError.RETRY, OnError.DEAD_LETTER))
        self._num_named += 1
        name = f"{kind}-{self._num_named}"
        if policy is OnError.DEAD_LETTER:
            self._setting_aside.add(name)
        return step.named(name).on_error(policy, retries=None if policy is OnError.FAIL else _RETRIES), name, policy

    def _grow(
        self, first: int, stream: Any, compute: Compute, *, is_ordered: bool = True, is_partial: bool = True
    ) -> None:
        before = self._expected[first]
        self._streams.append(stream)
        self._expected.append(
            Expected((first,), compute, before.is_ordered and is_ordered, before.is_partial and is_partial)
        )
