"""The user's coroutines on their own thread: each call ends in one result, or is cancelled."""

import asyncio
import queue
from collections.abc import Sequence

import pytest

from cluster.runtime.coroutines import ThreadCoroutines
from operators.machine import Call, CallResult

DEADLINE_S = 10.0


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


async def never(value: object) -> None:
    await asyncio.Event().wait()


async def leave(value: object) -> None:
    raise SystemExit(value)


class Gate:
    """Calls that wait for another one, and all end right after it."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()

    async def wait(self, value: object) -> None:
        await self._is_open.wait()

    async def open(self, value: object) -> None:
        self._is_open.set()


class Results:
    def __init__(self) -> None:
        self._box: queue.SimpleQueue[CallResult] = queue.SimpleQueue()

    def __call__(self, results: Sequence[CallResult]) -> None:
        for result in results:
            self._box.put(result)

    def take(self, num: int) -> dict[int, CallResult]:
        results = [self._box.get(timeout=DEADLINE_S) for _ in range(num)]
        return {result.call_id: result for result in results}

    def is_empty(self) -> bool:
        return self._box.empty()


def test_what_has_no_permit_begins_when_a_call_ends_and_a_call_that_failed_keeps_its_own() -> None:
    coroutines, results = ThreadCoroutines("test"), Results()
    coroutines.start(
        "task", [Call(1, leave, 1, None, 1), Call(2, double, 2, None, 1), Call(3, double, 3, None, 1)], results
    )
    assert set(results.take(1)) == {1}
    coroutines.start("other", [Call(4, double, 4, None, 1)], results)
    assert set(results.take(1)) == {4}, "the permits of others are their own"
    assert results.is_empty()
    coroutines.free("task", 1)
    assert set(results.take(2)) == {2, 3}
    coroutines.close(DEADLINE_S)


def test_each_call_ends_in_its_result() -> None:
    coroutines, results = ThreadCoroutines("test"), Results()
    coroutines.start("task", [Call(number, double, number, None) for number in range(10)], results)
    assert {number: result.value for number, result in results.take(10).items()} == {n: 2 * n for n in range(10)}
    assert coroutines.close(DEADLINE_S) is None


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (Call(1, never, None, 0.001), TimeoutError),
        (Call(1, leave, 3, None), SystemExit),
        (Call(1, lambda value: value, 5, None), TypeError),  # no coroutine
    ],
)
def test_whatever_a_call_raises_is_its_result(call: Call, kind: type[BaseException]) -> None:
    coroutines, results = ThreadCoroutines("test"), Results()
    coroutines.start("task", [call], results)
    assert isinstance(results.take(1)[1].error, kind)
    assert coroutines.close(DEADLINE_S) is None


def test_what_ends_in_one_turn_of_the_loop_is_given_as_one() -> None:
    came: queue.SimpleQueue[Sequence[CallResult]] = queue.SimpleQueue()
    gate = Gate()
    coroutines = ThreadCoroutines("test coroutines")
    waiting = [Call(number, gate.wait, None, None) for number in range(5)]
    coroutines.start("task", [*waiting, Call(5, gate.open, None, None)], came.put)
    assert sorted(result.call_id for result in came.get(timeout=DEADLINE_S)) == [0, 1, 2, 3, 4, 5]
    assert coroutines.close(DEADLINE_S) is None


def test_a_taker_that_raises_is_logged_and_costs_others_no_result(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(results: Sequence[CallResult]) -> None:
        raise RuntimeError("not taken")

    coroutines, results, gate = ThreadCoroutines("test"), Results(), Gate()
    coroutines.start("a", [Call(1, gate.wait, None, None)], refuse)
    coroutines.start("b", [Call(2, gate.wait, None, None)], results)
    coroutines.start("c", [Call(3, gate.open, None, None)], refuse)
    assert set(results.take(1)) == {2}
    assert coroutines.close(DEADLINE_S) is None
    assert "RuntimeError: not taken" in caplog.text


def test_cancelling_one_task_leaves_the_calls_of_others() -> None:
    coroutines, results = ThreadCoroutines("test"), Results()
    coroutines.start("a", [Call(1, never, None, None)], results)
    coroutines.start("b", [Call(2, double, 1, None)], results)
    coroutines.cancel("a")
    coroutines.start("b", [Call(3, double, 2, None)], results)
    assert set(results.take(2)) == {2, 3}
    assert results.is_empty()
    assert coroutines.close(DEADLINE_S) is None


def test_closing_cancels_what_runs_and_ends_the_thread() -> None:
    coroutines, results = ThreadCoroutines("test"), Results()
    coroutines.start("a", [Call(number, never, None, None) for number in range(5)], results)
    assert coroutines.close(DEADLINE_S) is None
    assert coroutines.thread is not None
    assert not coroutines.thread.is_alive()


def test_without_a_call_there_is_no_thread() -> None:
    coroutines = ThreadCoroutines("test")
    assert coroutines.thread is None
    assert coroutines.close(0.0) is None


def test_an_owner_that_was_cancelled_begins_with_all_permits() -> None:
    coroutines, results = ThreadCoroutines("test"), Results()
    coroutines.start("a", [Call(1, never, None, None, 1), Call(2, never, None, None, 1)], results)
    coroutines.cancel("a")
    coroutines.start("a", [Call(3, double, 3, None, 1)], results)
    assert set(results.take(1)) == {3}
    coroutines.close(DEADLINE_S)
