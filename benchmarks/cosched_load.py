"""Chat at a rate and embeddings beside it, at two engine hosts, for some seconds: what came, and when. No verdict."""

import select
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from cluster.serving.engines.launch import HostLink
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import Abort, Ready, Replies, Run, Seen, StartFailed
from cluster.serving.engines.tokenizer_port import Told
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.ids import RequestId
from sage.base.inference import (
    Embedded,
    EmbedRequest,
    Failed,
    Finished,
    GenerateRequest,
    Request,
    Sampling,
    ServiceClass,
    Token,
)

WARM_S = 0.4  # of load before what is measured begins
END_S = 20.0  # for what was cancelled to end
TEXTS_A_REQUEST = 2  # few: of a request that is not whole when a short turn ends, nothing counts
REQUESTS_AT_HAND = 48  # of embeddings in a closed loop
MAX_TOKENS = 24
_READY_S = 180.0


@dataclass(frozen=True, slots=True)
class CoschedLoad:
    """What is asked: chat's arrivals in seconds from the start, with their prompts; embeddings in a closed loop, or
    single texts that arrive so many a second; neither where both are 0."""

    arrivals: tuple[tuple[float, str], ...]
    is_embedding: bool = False
    texts_per_s: float = 0.0


@dataclass(slots=True)
class TurnSeen:
    """What one turn brought, within its measured time of `seconds`."""

    seconds: float
    gaps_ms: list[float] = field(default_factory=list)
    chat_tokens: int = 0
    embedding_tokens: int = 0
    embedding_ms: list[float] = field(default_factory=list)


class CoschedTurn:
    """One turn of a set-up, driven by one thread that polls both hosts. Ids are unique by `number`."""

    def __init__(
        self,
        chat: HostLink,
        embed: HostLink,
        load: CoschedLoad,
        passages: Sequence[str],
        number: int,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._chat = chat
        self._embed = embed
        self._load = load
        self._passages = passages
        self._name = f"turn-{number}"
        self._clock = clock
        self._rng = rng
        self._num = 0
        self._open: dict[RequestId, tuple[HostLink, float]] = {}
        self._last_s: dict[RequestId, float] = {}
        self._is_over = False
        self._began_s = self._until_s = 0.0
        self._seen = TurnSeen(0.0)
        self._poll = select.poll()
        for link in (chat, embed):
            for fd in link.fds():
                self._poll.register(fd, select.POLLIN)

    def run(self, seconds: float, *, warm_s: float = WARM_S, until_tokens: tuple[int, int] | None = None) -> TurnSeen:
        """CoschedLoad both for a moment, measure for `seconds`, and end what is open.

        `until_tokens`: of chat and of embeddings; it ends as soon as so many have come.
        """
        self._seen = seen = TurnSeen(seconds)
        start_s = self._clock.monotonic_s()
        self._began_s = start_s + warm_s
        self._until_s = self._began_s + seconds
        arrivals = list(reversed(self._load.arrivals))
        next_text_s = start_s
        if self._load.is_embedding:
            for _ in range(REQUESTS_AT_HAND):
                self._ask_texts(TEXTS_A_REQUEST, ServiceClass.STANDARD)
        while (now_s := self._clock.monotonic_s()) < self._until_s and not _has_enough(seen, until_tokens):
            due_s = [self._until_s]
            while arrivals and start_s + arrivals[-1][0] <= now_s:
                self._ask_chat(arrivals.pop()[1])
            due_s += [start_s + arrivals[-1][0]] if arrivals else []
            if self._load.texts_per_s:
                while next_text_s <= now_s:
                    self._ask_texts(1, ServiceClass.INTERACTIVE)
                    next_text_s += self._rng.expovariate(self._load.texts_per_s)
                due_s.append(next_text_s)
            if not _has_enough(seen, until_tokens):  # it may all have come while the last was sent
                self._take(min(due_s))
        self._end()
        return seen

    def _end(self) -> None:
        self._is_over = True
        for link in (self._chat, self._embed):
            link.send(Abort(tuple(id for id, (at, _) in self._open.items() if at is link)))
        until_s = self._clock.monotonic_s() + END_S
        while self._open and self._clock.monotonic_s() < until_s:
            self._take(until_s)
        if self._open:
            raise InternalError(f"{len(self._open)} requests did not end within {END_S:g} s", "Please report it.")

    def _ask_chat(self, prompt: str) -> None:
        request = GenerateRequest(self._id(), self._chat.models[0], prompt, Sampling(max_tokens=MAX_TOKENS))
        self._send(self._chat, request)

    def _ask_texts(self, num: int, service_class: ServiceClass) -> None:
        texts = tuple(self._rng.choice(self._passages) for _ in range(num))
        self._send(self._embed, EmbedRequest(self._id(), self._embed.models[0], texts, service_class))

    def _id(self) -> RequestId:
        self._num += 1
        return RequestId(f"{self._name}-{self._num}")

    def _send(self, link: HostLink, request: Request) -> None:
        self._open[request.id] = (link, self._clock.monotonic_s())
        if not link.send(Run((request,))):
            raise InternalError(f"engine {link.engine_id} takes no more", "Please report it.")
        self._hear(link)

    def _take(self, until_s: float) -> None:
        """Wait for what comes next, until then at the latest."""
        self._poll.poll(max(0.0, 1000 * (until_s - self._clock.monotonic_s())))
        for link in (self._chat, self._embed):
            self._hear(link)

    def _hear(self, link: HostLink) -> None:
        for message in link.drain():
            now_s = self._clock.monotonic_s()
            match message:
                case Replies(replies=replies):
                    for reply in replies:
                        self._heard(reply, now_s)
                case HostLost(failure=failure) | StartFailed(failure=failure):
                    raise failure.error()
                case Seen() | Told():
                    pass
                case Ready():
                    raise InternalError(f"engine {link.engine_id} was ready before", "Please report it.")

    def _heard(self, reply: Token | Finished | Embedded | Failed, now_s: float) -> None:
        seen = self._seen
        is_measured = self._began_s <= now_s < self._until_s
        if isinstance(reply, Token):
            last_s = self._last_s.get(reply.request_id)
            self._last_s[reply.request_id] = now_s
            if is_measured:
                seen.chat_tokens += reply.num_tokens
                if last_s is not None:
                    seen.gaps_ms.append(1000 * (now_s - last_s))
            return
        _, asked_s = self._open.pop(reply.request_id)
        if isinstance(reply, Failed) and not self._is_over:
            raise reply.failure.error()
        if isinstance(reply, Embedded):
            if is_measured:
                seen.embedding_tokens += reply.usage.prompt_tokens
                seen.embedding_ms.append(1000 * (now_s - asked_s))
            if self._load.is_embedding and not self._is_over:
                self._ask_texts(TEXTS_A_REQUEST, ServiceClass.STANDARD)


def _has_enough(seen: TurnSeen, until_tokens: tuple[int, int] | None) -> bool:
    if until_tokens is None:
        return False
    return seen.chat_tokens >= until_tokens[0] and seen.embedding_tokens >= until_tokens[1]


def arrivals_at(
    rate_per_s: float, seconds: float, prompts: Sequence[str], rng: Random
) -> tuple[tuple[float, str], ...]:
    """Return arrivals at this rate for so long, each with a prompt: open loop, gaps exponential."""
    arrivals, at_s = [], 0.0
    while (at_s := at_s + rng.expovariate(rate_per_s)) < seconds:
        arrivals.append((at_s, rng.choice(prompts)))
    return tuple(arrivals)


def wait_ready(links: Sequence[HostLink], clock: Clock) -> None:
    """Wait until each host has loaded its engine; raises what one says that cannot."""
    until_s = clock.monotonic_s() + _READY_S
    for link in links:
        poll = select.poll()
        for fd in link.fds():
            poll.register(fd, select.POLLIN)
        while not (came := link.drain()):
            if clock.monotonic_s() >= until_s:
                raise InternalError(f"engine {link.engine_id} was not ready within {_READY_S:g} s")
            poll.poll(100)
        if isinstance(came[0], HostLost | StartFailed):
            raise came[0].failure.error()
