"""What plain lists make of the steps of a random flow. Knows no runner and no stream.

Which records became dead letters is an argument: where an engine was lost, chance decides that.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sage.flow.graph import OnError

Letters = Mapping[str, Counter[str]] | None
"""Of each step, its dead letters by their repr; None where the job did not end well, and not all are known."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step makes of its input. `is_fatal`: a record in it must fail the job."""

    numbers: list[int]
    is_fatal: bool = False


Compute = Callable[[list[list[int]], Letters], Outcome]


@dataclass(frozen=True, slots=True)
class Expected:
    """A stream as lists know it, from those before it, by number.

    `is_ordered`: its order is promised. `is_partial`: a job that ends early may leave a part of it, and nothing else.
    """

    inputs: tuple[int, ...]
    compute: Compute
    is_ordered: bool
    is_partial: bool


class LettersWrong(AssertionError):
    """A record became a dead letter that could not, or one did not that had to."""


def is_bad(number: int) -> bool:
    """Say whether risky steps raise on `number`."""
    return number % 7 == 3


def given(numbers: tuple[int, ...]) -> Compute:
    return lambda inputs, letters: Outcome(list(numbers))


def same(inputs: list[list[int]], letters: Letters) -> Outcome:
    return Outcome(list(inputs[0]))


def plus_one(inputs: list[list[int]], letters: Letters) -> Outcome:
    return Outcome([number + 1 for number in inputs[0]])


def odd(inputs: list[list[int]], letters: Letters) -> Outcome:
    return Outcome([number for number in inputs[0] if number % 2 == 1])


def twofold(inputs: list[list[int]], letters: Letters) -> Outcome:
    return Outcome([signed for number in inputs[0] for signed in (number, -number)])


def joined(inputs: list[list[int]], letters: Letters) -> Outcome:
    return Outcome(inputs[0] + inputs[1])


def counted(inputs: list[list[int]], letters: Letters) -> Outcome:
    return Outcome(list(Counter(number % 10 for number in inputs[0]).values()))


def risked(name: str, policy: OnError, *, dies: bool) -> Compute:
    """Return what a risky step makes: `dies`, a bad record is given up whatever is tried."""

    def compute(inputs: list[list[int]], letters: Letters) -> Outcome:
        bad = [number for number in inputs[0] if dies and is_bad(number)]
        good = [number + 1 for number in inputs[0] if not (dies and is_bad(number))]
        if policy is not OnError.DEAD_LETTER:
            return Outcome(good, is_fatal=bool(bad))
        if letters is not None and letters.get(name, Counter()) != Counter(map(repr, bad)):
            raise LettersWrong(f"dead letters of {name} are {letters.get(name)} instead of {bad}")
        return Outcome(good)

    return compute


def answered(name: str) -> Compute:
    """Return what a model step makes: everything but the dead letters, whichever they are."""

    def compute(inputs: list[list[int]], letters: Letters) -> Outcome:
        dead = Counter() if letters is None else letters.get(name, Counter())
        if dead - Counter(map(repr, inputs[0])):
            raise LettersWrong(f"dead letters of {name} are {dead}, and it read {inputs[0]}")
        left, numbers = Counter(dead), []
        for number in inputs[0]:  # of equal records it does not matter which is dead
            if left[repr(number)]:
                left[repr(number)] -= 1
            else:
                numbers.append(number)
        return Outcome(numbers)

    return compute
