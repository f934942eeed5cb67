"""What the bridge holds for a caller that does not read, and what it tells the plane."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from gateway.bridge import MAX_PENDING_CHARS, MERGE_ABOVE, AskerGone, Asking, Bridge
from sage.base.errors import Overloaded
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    Failed,
    Finished,
    GenerateRequest,
    Last,
    ModelCard,
    Reply,
    ReplyTo,
    Request,
    Token,
    Usage,
)

FIRST = GenerateRequest(RequestId("r1"), "m", "a")
SECOND = GenerateRequest(RequestId("r2"), "m", "b")
END = Finished(FIRST.id, "stop", Usage(1, 1), EngineId("e"))


class HeldInference:
    """Takes requests and does nothing by itself."""

    def __init__(self) -> None:
        self.cancelled: list[RequestId] = []
        self.reply_to: list[ReplyTo] = []

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self.reply_to.append(reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self.cancelled += request_ids

    def models(self) -> tuple[ModelCard, ...]:
        return ()


class Notes:
    """An Observer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def now_s(self) -> float:
        return 0.0

    def first_token(self, request: Request, submitted_s: float) -> None:
        self.told.append(("first token", request.id))

    def ended(self, request: Request, last: Last, submitted_s: float) -> None:
        self.told.append((type(last).__name__, request.id))


def asked(*requests: Request) -> Callable[[Callable[[Asking, HeldInference, Notes], Coroutine[Any, Any, None]]], None]:
    """Return a decorator that runs a coroutine with an asking for `requests`, at once."""

    def run(body: Callable[[Asking, HeldInference, Notes], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            inference, notes = HeldInference(), Notes()
            bridge = Bridge(inference, notes)
            with bridge.ask(requests) as asking:
                await asyncio.wait_for(body(asking, inference, notes), 5.0)
            assert bridge.num_asking == 0

        asyncio.run(main())

    return run


def tokens(num: int, text: str) -> list[Reply]:
    return [Token(FIRST.id, text) for _ in range(num)]


def test_all_that_has_come_is_read_at_once_and_in_order() -> None:
    @asked(FIRST)
    async def _(asking: Asking, inference: HeldInference, notes: Notes) -> None:
        inference.reply_to[0]([*tokens(1, "a"), *tokens(1, "b")])
        inference.reply_to[0]([END])
        assert await asking.next() == [*tokens(1, "a"), *tokens(1, "b"), END]
        assert await asking.next() == []
        assert notes.told == [("first token", "r1"), ("Finished", "r1")]
        assert inference.cancelled == []


def test_tokens_that_nobody_reads_are_joined() -> None:
    @asked(FIRST)
    async def _(asking: Asking, inference: HeldInference, notes: Notes) -> None:
        inference.reply_to[0](tokens(1000, "ab"))
        replies = await asking.next()
        assert len(replies) == MERGE_ABOVE
        assert "".join(reply.text for reply in replies if isinstance(reply, Token)) == "ab" * 1000
        assert sum(reply.num_tokens for reply in replies if isinstance(reply, Token)) == 1000
        inference.reply_to[0](tokens(1, "c"))
        assert await asking.next() == tokens(1, "c")


def test_an_answer_that_nobody_reads_is_cancelled_at_its_bound() -> None:
    @asked(FIRST)
    async def _(asking: Asking, inference: HeldInference, notes: Notes) -> None:
        inference.reply_to[0](tokens(MAX_PENDING_CHARS, "x"))
        assert inference.cancelled == []
        inference.reply_to[0](tokens(3, "x"))
        assert inference.cancelled == [FIRST.id]
        replies = await asking.next()
        assert isinstance(replies[-1], Failed)
        assert replies[-1].failure.code == "SAGE-2206"


def test_replies_after_the_end_are_passed_over() -> None:
    @asked(FIRST)
    async def _(asking: Asking, inference: HeldInference, notes: Notes) -> None:
        asking.fail(Overloaded("stopping"))
        inference.reply_to[0]([*tokens(1, "late"), END])
        [last] = await asking.next()
        assert isinstance(last, Failed)
        assert last.failure.code == "SAGE-2201"
        assert inference.cancelled == [FIRST.id]


def test_abandoning_cancels_what_is_open_and_wakes_who_waits() -> None:
    @asked(FIRST, SECOND)
    async def _(asking: Asking, inference: HeldInference, notes: Notes) -> None:
        inference.reply_to[0]([END])
        await asking.next()
        waiting = asyncio.ensure_future(asking.next())
        await asyncio.wait((waiting,), timeout=0)
        asking.abandon()
        with pytest.raises(AskerGone):
            await waiting
        assert inference.cancelled == [SECOND.id]


def test_leaving_early_cancels_the_rest_and_leaving_late_nothing() -> None:
    async def main() -> None:
        inference = HeldInference()
        bridge = Bridge(inference, Notes())
        with bridge.ask((FIRST, SECOND)):
            inference.reply_to[0]([END])
        assert inference.cancelled == [SECOND.id]
        with bridge.ask((FIRST,)):
            inference.reply_to[1]([END])
        assert inference.cancelled == [SECOND.id]

    asyncio.run(main())
