"""Two planes that are told the same, and simulated engines that obey one of them. Knows no policy and no route.

What is asked for: conversations that grow, prompts with shared beginnings, texts, by several tenants, of all classes;
some have a deadline, some are cancelled, an engine is lost and comes again, another retires.
"""

import heapq
from collections.abc import Iterable
from random import Random

from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import (
    AbortAt,
    Cancelled,
    Command,
    Dispatch,
    EndEngine,
    EngineDown,
    EngineEnded,
    EngineRetired,
    EngineUp,
    Event,
    FirstTokens,
    Submitted,
    TakeBack,
    TimePassed,
    WakeAt,
)
from cluster.serving.plane import Plane
from cluster.serving.size import TextSizing
from sage.base.errors import RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    Kind,
    Last,
    ModelCard,
    Request,
    Sampling,
    ServiceClass,
    TextsRequest,
    Usage,
)
from tests.unit.serving.arrange import lost

CARDS = (ModelCard("chat", (Kind.CHAT,), 1 << 20), ModelCard("embed", (Kind.EMBED,), 512, dim=2))
TOKENS_PER_S = 4_000.0
BLOCKS_KEPT = 60
_STOPPED = Failure.of(RequestCancelled("stopped"))


class SideBySide:
    """`plane` gives the orders; `other` must give the same ones."""

    def __init__(self, plane: Plane, other: Plane, *, num_engines: int, max_running: int, seed: int) -> None:
        self.planes = (plane, other)
        self.num_of: dict[str, int] = {}
        self._rng = Random(seed)
        self._due: list[tuple[float, int, Event]] = []
        self._num_due = 0
        self._held: dict[tuple[EngineId, RequestId], float] = {}  # when it is answered
        self._cached: dict[EngineId, dict[int, None]] = {}
        self._busy_s: dict[EngineId, float] = {}
        for n in range(num_engines):
            cards = CARDS if n % 2 else CARDS[:1]
            self._at(0.0, EngineUp(EngineInfo(EngineId(f"e{n}"), "simulated", "CPU", True, cards, max_running, 8)))

    def ask(self, num: int, *, each_s: float) -> None:
        """Let `num` requests come, one every `each_s` seconds on average."""
        rng, now_s = self._rng, 0.0
        heads = [f"{n} " * rng.randrange(50, 900) for n in range(20)]
        said: dict[tuple[str, int], list[ChatMessage]] = {}
        for n in range(num):
            now_s += rng.expovariate(1.0 / each_s)
            tenant = f"t{int(rng.paretovariate(1.0)) % 6}"
            conversation = said.setdefault((tenant, rng.randrange(8)), [])
            self._at(now_s, Submitted((_request(RequestId(f"r{n}"), tenant, conversation, heads, rng),)))
            if rng.random() < 0.03:
                self._at(now_s + rng.expovariate(0.5), Cancelled((RequestId(f"r{n}"),)))
        again = self._due[0][2]
        self._at(0.3 * now_s, EngineDown(EngineId("e0"), lost(), ("chat",)))
        self._at(0.4 * now_s, again)
        self._at(0.6 * now_s, EngineRetired(EngineId("e1"), 2.0))

    def run(self) -> None:
        """Tell both all that happens, until nothing does; they must order the same each time."""
        while self._due:
            now_s, _, event = heapq.heappop(self._due)
            if not self._happens(event, now_s):
                continue
            commands, others = (plane.handle(event, now_s) for plane in self.planes)
            assert commands == others, (now_s, event)
            for command in commands:
                name = type(command).__name__
                self.num_of[name] = self.num_of.get(name, 0) + 1
                self._obey(command, now_s)

    def _at(self, at_s: float, event: Event) -> None:
        self._num_due += 1
        heapq.heappush(self._due, (at_s, self._num_due, event))

    def _happens(self, event: Event, now_s: float) -> bool:
        """Say whether what was to happen still does, and let engines be as it leaves them."""
        match event:
            case EngineUp(info):
                self._cached[info.engine_id], self._busy_s[info.engine_id] = {}, now_s
            case EngineDown(engine_id):
                self._held = {place: at_s for place, at_s in self._held.items() if place[0] != engine_id}
                return self._cached.pop(engine_id, None) is not None
            case FirstTokens(engine_id, (request_id,)):
                return (engine_id, request_id) in self._held
            case EngineEnded(engine_id, (last,)):
                return self._held.pop((engine_id, last.request_id), None) is not None
            case _:
                pass
        return True

    def _obey(self, command: Command, now_s: float) -> None:
        match command:
            case Dispatch(engine_id, requests):
                for request in requests:
                    self._work_on(engine_id, request, now_s)
            case AbortAt(engine_id, request_ids) | TakeBack(engine_id, request_ids):
                for request_id in request_ids:
                    self._at(now_s, EngineEnded(engine_id, (Failed(request_id, _STOPPED),)))
            case EndEngine(engine_id):
                self._at(now_s, EngineDown(engine_id, lost()))
            case WakeAt(at_s):
                self._at(at_s, TimePassed())
            case _:
                pass

    def _work_on(self, engine_id: EngineId, request: Request, now_s: float) -> None:
        """Prompts one after the other, less what is cached of them; then answers, all at the same time."""
        if isinstance(request, TextsRequest):
            self._ends(now_s + 0.05, engine_id, Embedded(request.id, bytes(8), 2, Usage(3), engine_id))
            return
        prefix, cached = TextSizing().prefix(request), self._cached[engine_id]
        found = [block in cached for block in prefix.hashes]
        num_found = found.index(False) if False in found else len(found)
        cached_tokens = prefix.ends_tokens[num_found - 1] if num_found else 0
        _use(cached, prefix.hashes)
        prompt_tokens = TextSizing().size(request).prompt_tokens
        first_s = max(now_s, self._busy_s[engine_id]) + (prompt_tokens - cached_tokens) / TOKENS_PER_S
        self._busy_s[engine_id] = first_s
        num_tokens = self._rng.randint(1, request.sampling.max_tokens or 100)
        self._at(first_s, FirstTokens(engine_id, (request.id,)))
        usage = Usage(prompt_tokens, num_tokens, cached_tokens)
        self._ends(first_s + 0.02 * num_tokens, engine_id, Finished(request.id, "stop", usage, engine_id))

    def _ends(self, at_s: float, engine_id: EngineId, last: Last) -> None:
        self._held[engine_id, last.request_id] = at_s
        self._at(at_s, EngineEnded(engine_id, (last,)))


def _use(cached: dict[int, None], blocks: Iterable[int]) -> None:
    for block in blocks:
        cached.pop(block, None)
        cached[block] = None
    while len(cached) > BLOCKS_KEPT:
        del cached[next(iter(cached))]


def _request(
    request_id: RequestId, tenant: str, said: list[ChatMessage], heads: list[str], rng: Random
) -> ChatRequest | EmbedRequest:
    service_class = rng.choice(tuple(ServiceClass))
    timeout_s = rng.choice((None, None, None, 2.0, 20.0))
    if rng.random() < 0.1:
        return EmbedRequest(request_id, "embed", ("text",) * rng.randint(1, 5), service_class, tenant, timeout_s)
    sampling = Sampling(max_tokens=rng.choice((4, 60, 250, None)))
    if len(said) > 8:
        said.clear()
    if not said:
        said.append(ChatMessage("system", rng.choice(heads)))
    said.append(ChatMessage("user", f"{request_id} " * rng.randrange(5, 400)))
    request = ChatRequest(request_id, "chat", tuple(said), sampling, service_class, tenant, timeout_s)
    said.append(ChatMessage("assistant", f"{request_id}! " * rng.randrange(5, 100)))
    return request
