"""The event loop with exact timers does what any loop does: timers, other threads, descriptors."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from cluster.runtime.fine_loop import new_event_loop

LONG_S = 0.05
"""Shorter than what counts as long, so that it is waited for in microseconds."""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = new_event_loop()
    yield made
    made.close()


async def after(wait_s: float) -> None:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(wait_s, over.set_result, None)
    await over


def test_no_timer_fires_early(loop: asyncio.AbstractEventLoop) -> None:
    async def waits() -> list[float]:
        early_s: list[float] = []
        for _ in range(20):
            began_s = loop.time()
            await after(0.0015)
            early_s.append(0.0015 - (loop.time() - began_s))
        return early_s

    assert max(loop.run_until_complete(waits())) <= 0.0


def test_another_thread_wakes_it_from_a_wait(loop: asyncio.AbstractEventLoop) -> None:
    async def waits() -> str:
        woken: asyncio.Future[str] = loop.create_future()
        timer = loop.call_later(LONG_S, woken.cancel)
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set_result, "thread"))
        thread.start()
        said = await woken
        timer.cancel()
        thread.join()
        return said

    assert loop.run_until_complete(waits()) == "thread"


def test_what_comes_on_a_socket_is_read_while_timers_are_awaited(loop: asyncio.AbstractEventLoop) -> None:
    near, far = socket.socketpair()

    async def waits() -> bytes:
        reader, writer = await asyncio.open_connection(sock=near)
        async with asyncio.timeout(LONG_S * 100):
            await after(0.001)
            far.sendall(b"hello")
            read = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return read

    assert loop.run_until_complete(waits()) == b"hello"
    far.close()
