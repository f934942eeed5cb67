"""Engines under test behind one face: driven in this process, in virtual or real time, or across a host process."""

import contextlib
import select
from collections.abc import Iterator, Sequence
from typing import Protocol

from cluster.serving.engines.figures import EngineFigures, KeptBlocks
from cluster.serving.engines.launch import HostLink
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import Abort, Engine, EngineInfo, Ready, Replies, Run, Seen, StartFailed
from cluster.serving.engines.tokenizer_port import Told
from sage.base.clock import ManualClock
from sage.base.ids import RequestId
from sage.base.inference import Embedded, Failed, Finished, Reply, Request, Token

DEADLINE_MS = 60_000


class DrivenEngine(Protocol):
    """An engine that can be asked and waited for."""

    info: EngineInfo

    def add(self, requests: Sequence[Request]) -> None: ...

    def cancel(self, request_ids: Sequence[RequestId]) -> None: ...

    def next_replies(self) -> Sequence[Reply]:
        """Return what comes next, waiting for it; fails the test where nothing can come."""
        ...

    def close(self) -> None: ...


class InProcess:
    """An engine stepped by the test itself; with a ManualClock, time passes only when it must."""

    def __init__(self, engine: Engine, clock: ManualClock | None = None) -> None:
        self.engine = engine
        self.info = engine.info()
        self._clock = clock
        self._is_closed = False

    def add(self, requests: Sequence[Request]) -> None:
        self.engine.add(requests)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self.engine.cancel(request_ids)

    def next_replies(self) -> Sequence[Reply]:
        due_s = self.engine.due_in_s()
        assert due_s is not None, "the engine has nothing to do, but a request has not ended"
        assert self.engine.has_work()
        if self._clock is not None:
            self._clock.advance(due_s)
        return self.engine.step()

    def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self.engine.close()


class Hosted:
    """An engine in a host process."""

    def __init__(self, link: HostLink, *, deadline_s: float = DEADLINE_MS / 1000) -> None:
        """Wait up to `deadline_s` until it is ready, and as long for whatever comes next."""
        self.link = link
        self._messages = messages_of(link, round(deadline_s * 1000))  # what comes with Ready is not lost
        first = next(self._messages)
        assert isinstance(first, Ready), first
        self.info = first.info
        self.seen: list[EngineFigures] = []
        self.kept: list[KeptBlocks] = []

    def add(self, requests: Sequence[Request]) -> None:
        assert self.link.send(Run(tuple(requests)))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        assert self.link.send(Abort(tuple(request_ids)))

    def next_replies(self) -> Sequence[Reply]:
        while isinstance(message := next(self._messages), Seen):
            self._note(message)
        assert isinstance(message, Replies), message
        return message.replies

    def next_figures(self) -> EngineFigures:
        """Return what the engine says next of itself, with nothing asked of it meanwhile."""
        while isinstance(message := next(self._messages), Seen):
            if isinstance(message.said, EngineFigures):
                return message.said
            self._note(message)
        raise AssertionError(message)

    def hear(self) -> None:
        """Note what the engine says next of itself, with nothing asked of it meanwhile."""
        message = next(self._messages)
        assert isinstance(message, Seen), message
        self._note(message)

    def _note(self, message: Seen) -> None:
        if isinstance(message.said, EngineFigures):
            self.seen.append(message.said)
        else:
            self.kept.append(message.said)

    def close(self) -> None:
        self.link.close(5.0)


def messages_of(
    link: HostLink, deadline_ms: int = DEADLINE_MS
) -> Iterator[Ready | StartFailed | Replies | Seen | Told | HostLost]:
    """Give what comes from the host, one by one, as its descriptors fire; ends after the last message."""
    while True:
        for message in link.drain() or _waited(link, deadline_ms):
            yield message
            if isinstance(message, StartFailed | HostLost):
                return


def _waited(link: HostLink, deadline_ms: int) -> Sequence[Ready | StartFailed | Replies | Seen | Told | HostLost]:
    poll = select.poll()
    for fd in link.fds():
        poll.register(fd, select.POLLIN)
    assert poll.poll(deadline_ms), "nothing came from the host within its deadline"
    return link.drain()


class Record:
    """What came for each request; checks the order within one on the way."""

    def __init__(self) -> None:
        self.tokens: dict[RequestId, list[Token]] = {}
        self.lasts: dict[RequestId, Finished | Embedded | Failed] = {}
        self.ended: list[RequestId] = []

    def take(self, replies: Sequence[Reply]) -> None:
        for reply in replies:
            assert reply.request_id not in self.lasts, f"{reply} came after the end of its request"
            if isinstance(reply, Token):
                self.tokens.setdefault(reply.request_id, []).append(reply)
            else:
                self.lasts[reply.request_id] = reply
                self.ended.append(reply.request_id)

    def text(self, request_id: RequestId) -> str:
        return "".join(token.text for token in self.tokens.get(request_id, []))

    def finished(self, request_id: RequestId) -> Finished:
        last = self.lasts[request_id]
        assert isinstance(last, Finished), last
        return last

    def embedded(self, request_id: RequestId) -> Embedded:
        last = self.lasts[request_id]
        assert isinstance(last, Embedded), last
        return last

    def failed_code(self, request_id: RequestId) -> str:
        last = self.lasts[request_id]
        assert isinstance(last, Failed), last
        return last.failure.code


def answer(engine: DrivenEngine, requests: Sequence[Request]) -> Record:
    """Ask all at once and wait for every end."""
    engine.add(requests)
    return wait_for(engine, [request.id for request in requests])


def wait_for(engine: DrivenEngine, request_ids: Sequence[RequestId], record: Record | None = None) -> Record:
    """Wait until all of these have ended."""
    record = record or Record()
    while not set(request_ids) <= record.lasts.keys():
        record.take(engine.next_replies())
    return record


@contextlib.contextmanager
def closing(engine: DrivenEngine) -> Iterator[DrivenEngine]:
    try:
        yield engine
    finally:
        engine.close()
