"""What is said of the calls of a step, and what it comes to."""

from typing import Literal

from sage.flow.flow import Flow
from sage.flow.graph import OnError
from sage.flow.stream import Stream


def test_retries_said_with_a_call_stay_whatever_happens_once_they_are_spent() -> None:
    numbers: Stream[int] = Flow("f").from_collection([1])

    async def awaited(number: int) -> int:
        return number

    def settings(policy: Literal["fail", "retry", "dead_letter"] | None) -> tuple[OnError, int]:
        called = numbers.map_async(awaited, retries=2)
        if policy is not None:
            called.on_error(policy)
        step = called._builder.step(called._number)
        return step.on_error, step.retries

    assert settings(None) == settings("fail") == settings("retry") == (OnError.RETRY, 2)
    assert settings("dead_letter") == (OnError.DEAD_LETTER, 2)
    asked = numbers.embed(model="m", retries=4).on_error("dead_letter", retries=1)
    assert asked._builder.step(asked._number).retries == 1
