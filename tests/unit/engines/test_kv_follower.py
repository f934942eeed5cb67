"""What a server publishes of its cache is followed on a real socket, also where messages are lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cluster.serving.engines import kv_follower
from cluster.serving.engines.figures import KeptBlocks
from cluster.serving.engines.kept_prompts import KeptChange
from cluster.serving.engines.kv_follower import KvFollower, PendingChanges
from cluster.serving.size import BLOCK_BYTES, TextSizing
from sage.base.errors import RequestFailed
from sage.base.ids import RequestId
from sage.base.inference import GenerateRequest
from tests.unit.engines.kv_published import CLEARED, Publisher, removed, stored

REQUEST = GenerateRequest(RequestId("r"), "m", "x" * (2 * BLOCK_BYTES))
FIRST, SECOND = TextSizing().prefix(REQUEST).hashes
TOKENS = tuple(range(8))
BLOCKS = (stored(TOKENS[:4], (1,)), stored(TOKENS[4:], (2,), 1))


class Heard:
    """What a follower has to tell, one by one."""

    def __init__(self, publisher: Publisher) -> None:
        self._came = asyncio.Event()
        self.follower = KvFollower(*publisher.addresses, self._came.set)

    async def next(self) -> KeptBlocks:
        async with asyncio.timeout(10.0):
            while (kept := self.follower.pending.taken()) is None:
                await self._came.wait()
                self._came.clear()
        return kept


@asynccontextmanager
async def following(folder: Path) -> AsyncIterator[tuple[Publisher, Heard]]:
    publisher = Publisher(folder)
    heard = Heard(publisher)
    try:
        publisher.wait_heard()
        yield publisher, heard
    finally:
        heard.follower.close()
        publisher.close()


def run(folder: Path, check: Callable[[Publisher, Heard], Awaitable[None]]) -> None:
    async def checked() -> None:
        async with following(folder) as (publisher, heard):
            await check(publisher, heard)

    asyncio.run(checked())


async def begun(publisher: Publisher, heard: Heard) -> None:
    """Have nothing published before."""
    await asyncio.to_thread(publisher.send_again)
    assert await heard.next() == KeptBlocks(is_first=True)


def test_what_was_published_before_is_told_first_and_changes_after_it(tmp_path: Path) -> None:
    async def check(publisher: Publisher, heard: Heard) -> None:
        publisher.publish(BLOCKS[0], reaches=False)
        assert await asyncio.to_thread(publisher.send_again) == 0
        assert heard.follower.asks_tokens(REQUEST)
        assert await heard.next() == KeptBlocks(is_first=True)
        heard.follower.prompted(REQUEST, TOKENS)
        assert await heard.next() == KeptBlocks((FIRST,), (SECOND,))
        publisher.publish(BLOCKS[1])
        assert await heard.next() == KeptBlocks((SECOND,))
        publisher.publish(removed(2), removed(1))
        kept = await heard.next()
        assert (kept.stored, set(kept.removed)) == ((), {FIRST, SECOND})

    run(tmp_path, check)


def test_what_is_lost_on_its_way_is_asked_for_and_nothing_is_believed_wrongly(tmp_path: Path) -> None:
    async def check(publisher: Publisher, heard: Heard) -> None:
        await begun(publisher, heard)
        publisher.publish(*BLOCKS)
        heard.follower.prompted(REQUEST, TOKENS)
        while set((await heard.next()).stored) != {FIRST, SECOND}:
            pass
        publisher.publish(removed(2), reaches=False)
        publisher.publish(removed(1))
        assert await asyncio.to_thread(publisher.send_again) == 1
        gone: set[int] = set()
        while gone != {FIRST, SECOND}:
            gone.update((await heard.next()).removed)

    run(tmp_path, check)


@pytest.mark.parametrize("how", ["gone", "garbage", "silent"])
def test_what_cannot_be_followed_is_not_known_until_all_is_cleared(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def check(publisher: Publisher, heard: Heard) -> None:
        await begun(publisher, heard)
        publisher.publish(*BLOCKS)
        heard.follower.prompted(REQUEST, TOKENS)
        while not (await heard.next()).stored:
            pass
        if how == "garbage":
            publisher.send((b"", b"", b"\xc1"))
        else:
            monkeypatch.setattr(kv_follower, "AGAIN_S", 10.0 if how == "gone" else 0.0)
            publisher.publish(removed(2), reaches=False)
            publisher.publish(removed(1))
        if how == "gone":
            publisher.kept.clear()
            assert await asyncio.to_thread(publisher.send_again) == 1
        while not (await heard.next()).is_over:
            pass
        publisher.publish(BLOCKS[0])
        heard.follower.prompted(REQUEST, TOKENS)
        publisher.publish(CLEARED, BLOCKS[0])
        kept = await heard.next()
        while not kept.stored:
            assert kept == KeptBlocks(is_first=True)
            kept = await heard.next()
        assert (kept.stored, kept.is_over) == ((FIRST,), False)

    run(tmp_path, check)
    assert capfd.readouterr().err.count("is not followed until it is cleared") == 1


def test_changes_that_nobody_takes_are_put_together_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    pending = PendingChanges()
    pending.begin()
    pending.put(KeptChange((1, 2), (3,)))
    pending.put(KeptChange((3,), (2,)))
    assert pending.taken() == KeptBlocks((1, 3), (2,), is_first=True)
    assert (pending.taken(), bool(pending)) == (None, False)
    monkeypatch.setattr(kv_follower, "MAX_PENDING", 2)
    pending.put(KeptChange((1, 2)))
    with pytest.raises(RequestFailed, match="more than 2 changes wait"):
        pending.put(KeptChange((3,)))
    pending.end()
    pending.begin()
    assert pending.taken() == KeptBlocks(is_over=True)
    assert pending.taken() == KeptBlocks(is_first=True)
