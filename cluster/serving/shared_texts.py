"""Which texts of a request must be asked of an engine, and what became of them. A machine; knows no engine.

    text --cached--> answered at once
         --asked by another just now--> waits for that answer
         --else--> asked, once, with the other new texts of its request, as many at a time as an engine takes

What is asked about a text is its vector, or how well it answers a query.

What is shared is shared within a tenant. A request waits on another's only where that one is at least as urgent and is
over before its own deadline; where that one fails, it asks for itself.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from cluster.serving.deadlines import deadline_exceeded
from cluster.serving.statistics import TextsView
from cluster.serving.vector_cache import CachedVector, TextKey, VectorCache, text_key
from sage.base.errors import InternalError, InvalidRequest, RequestCancelled, RequestFailed, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    MAX_SCORE_PAIRS,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    Last,
    Served,
    ServiceClass,
    TextsRequest,
    Usage,
)

MAX_SHARERS = 256
"""Rows that wait for one asked text at most: those behind are asked again, so that the plane's bounds hold for all."""

_URGENCY = {cls: rank for rank, cls in enumerate((ServiceClass.INTERACTIVE, ServiceClass.STANDARD, ServiceClass.BATCH))}


@dataclass(slots=True, eq=False)
class _Open:
    """A request that is not answered yet; row i is the vector of its text i.

    `asks`: what was asked for it; `shares`: what was asked for others, and it waits for.
    """

    request: TextsRequest
    deadline_s: float
    rows: list[bytes]
    num_left: int = 0
    num_tokens: int = 0
    cached_tokens: int = 0
    engine_id: EngineId | None = None
    served: Served | None = None
    asks: "list[_Asked]" = field(default_factory=list)
    shares: "list[_Asked]" = field(default_factory=list)
    is_over: bool = False


@dataclass(slots=True, eq=False)
class _Asked:
    """What was asked of the plane: its texts by key, in order, and which rows wait for each, the asker's own first.

    `is_old`: models have changed since, so that its vectors are for those who wait only.
    """

    request: TextsRequest
    owner: _Open
    waiting: dict[TextKey, list[tuple[_Open, int]]] = field(default_factory=dict)
    is_old: bool = False

    def is_waited_for(self) -> bool:
        return any(not open.is_over for waiting in self.waiting.values() for open, _ in waiting)


@dataclass(slots=True)
class TextOrders:
    """What is to be done: `asks` go to the plane, `cancels` name what it is to stop, `ended` go to whoever asked."""

    asks: list[TextsRequest] = field(default_factory=list)
    cancels: list[RequestId] = field(default_factory=list)
    ended: list[Last] = field(default_factory=list)


class SharedTexts:
    """Holds open requests about texts; each ends in exactly one Last. Driven by the thread of the plane."""

    def __init__(self, cache: VectorCache) -> None:
        self.cache = cache
        self._open: dict[RequestId, _Open] = {}
        self._asked: dict[RequestId, _Asked] = {}
        self._under_way: dict[TextKey, _Asked] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def refusal(self, request: TextsRequest) -> Failed | None:
        """Return the end of a request whose id is still in use."""
        if request.id not in self._open and request.id not in self._asked:
            return None
        what = f"a request with the id {request.id!r} is still being worked on"
        return _failed(request.id, InvalidRequest(what, "Give each request an id of its own.", param="id"))

    def submitted(self, request: TextsRequest, now_s: float) -> TextOrders:
        """Take a request of at least one text that is not refused."""
        assert self.refusal(request) is None, request
        orders = TextOrders()
        deadline_s = math.inf if request.timeout_s is None else now_s + request.timeout_s
        open = _Open(request, deadline_s, [b""] * len(request.texts), num_left=len(request.texts))
        self._open[request.id] = open
        self._ask(open, self._new_texts(open), orders, now_s, is_first=True)
        self._end_if_whole(open, orders)
        return orders

    def ended(self, last: Last, now_s: float) -> TextOrders:
        """Take what the plane answered to one of the `asks`."""
        orders = TextOrders()
        asked = self._asked.pop(last.request_id)
        for key in asked.waiting:
            if self._under_way.get(key) is asked:
                del self._under_way[key]
        match last:
            case Embedded() if _is_whole(last, len(asked.waiting)):
                self._fill(asked, last, orders)
            case Failed(failure=failure):
                self._failed(asked, failure, orders, now_s)
            case Embedded() | Finished():
                error = InternalError(f"an engine did not send a vector for each of {len(asked.waiting)} texts")
                self._failed(asked, Failure.of(error), orders, now_s)
        return orders

    def cancelled(self, request_id: RequestId) -> TextOrders | None:
        """End a request; what others wait for goes on. None where it is not one of these."""
        open = self._open.get(request_id)
        if open is None:
            return None
        error = RequestCancelled("the request was cancelled by whoever asked")
        orders = TextOrders(ended=[self._over(open, _failed(request_id, error))])
        self._stop(open, orders)
        return orders

    def forget(self) -> None:
        """Keep and share nothing of what is known or asked by now: a name may come back as another model's."""
        self.cache.clear()
        self._under_way.clear()
        for asked in self._asked.values():
            asked.is_old = True

    def view(self) -> tuple[TextsView, ...]:
        models = sorted({model for model, _ in self._counts})
        ways = ("embedded", "cached", "shared")
        return tuple(TextsView(model, *(self._counts[model, way] for way in ways)) for model in models)

    def _new_texts(self, open: _Open) -> dict[TextKey, list[int]]:
        """Fill or share what can be; return the rows of the texts that must be asked, by key, in order."""
        request, new = open.request, dict[TextKey, list[int]]()
        query = None if isinstance(request, EmbedRequest) else request.query
        for row, text in enumerate(request.texts):
            key = text_key(request.tenant, request.model, text, query)
            cached = self.cache.get(key)
            if cached is not None:
                self._counts[request.model, "cached"] += 1
                _fill_row(open, row, cached, is_own=False)
            elif key in new:
                new[key].append(row)
            elif (asked := self._under_way.get(key)) is not None and _may_share(open, asked, key):
                asked.waiting[key].append((open, row))
                open.shares.append(asked)
            else:
                new[key] = [row]
        return new

    def _ask(
        self, open: _Open, new: dict[TextKey, list[int]], orders: TextOrders, now_s: float, *, is_first: bool = False
    ) -> None:
        """Ask for the rows of `new`, as many texts at a time as go into one request; the first has the asker's id."""
        most = MAX_EMBED_TEXTS if isinstance(open.request, EmbedRequest) else MAX_SCORE_PAIRS
        entries = list(new.items())
        for start in range(0, len(entries), most):
            own = open.request.id
            id = own if is_first and not start else RequestId(f"{own}/{len(open.asks) + 1}")
            self._ask_once(open, dict(entries[start : start + most]), id, orders, now_s)

    def _ask_once(
        self, open: _Open, new: dict[TextKey, list[int]], id: RequestId, orders: TextOrders, now_s: float
    ) -> None:
        request = open.request
        texts = tuple(request.texts[rows[0]] for rows in new.values())
        timeout_s = None if math.isinf(open.deadline_s) else open.deadline_s - now_s
        part_of = request.part_of or request.id
        part = msgspec.structs.replace(request, id=id, texts=texts, timeout_s=timeout_s, part_of=part_of)
        asked = _Asked(part, open)
        for key, rows in new.items():
            asked.waiting[key] = [(open, row) for row in rows]
            self._under_way[key] = asked
        self._asked[id] = asked
        open.asks.append(asked)
        orders.asks.append(asked.request)

    def _fill(self, asked: _Asked, last: Embedded, orders: TextOrders) -> None:
        """Give out vectors that came. Counted here: a model that nobody serves, whatever its name, is never counted."""
        tokens = tokens_of_texts(last, asked.request.texts)
        assert len(tokens) == len(asked.waiting), "a whole answer has something for each text"
        for number, (key, waiting) in enumerate(asked.waiting.items()):
            start = 4 * last.dim * number
            value = CachedVector(last.vectors[start : start + 4 * last.dim], tokens[number])
            if not asked.is_old:
                self.cache.put(key, value)
            self._counts[asked.request.model, "embedded"] += 1
            self._counts[asked.request.model, "shared"] += len(waiting) - 1
            for place, (open, row) in enumerate(waiting):
                if not open.is_over:
                    open.engine_id, open.served = last.engine_id, last.served
                    _fill_row(open, row, value, is_own=place == 0 and open is asked.owner)
                    self._end_if_whole(open, orders)

    def _failed(self, asked: _Asked, failure: Failure, orders: TextOrders, now_s: float) -> None:
        """End the asker by its failure; whoever shared asks for itself, and shares no more with others before it."""
        if not asked.owner.is_over:
            orders.ended.append(self._over(asked.owner, Failed(asked.owner.request.id, failure)))
            self._stop(asked.owner, orders)
        again: dict[_Open, dict[TextKey, list[int]]] = {}
        for key, waiting in asked.waiting.items():
            for open, row in waiting:
                if not open.is_over:
                    again.setdefault(open, {}).setdefault(key, []).append(row)
        for open, new in again.items():
            if open.deadline_s <= now_s:
                late = deadline_exceeded(open.request, "waited for an engine")
                orders.ended.append(self._over(open, _failed(open.request.id, late)))
                continue
            self._ask(open, new, orders, now_s)

    def _end_if_whole(self, open: _Open, orders: TextOrders) -> None:
        if open.num_left == 0 and not open.is_over:
            orders.ended.append(self._over(open, _joined(open)))

    def _stop(self, open: _Open, orders: TextOrders) -> None:
        """Stop what a request that is over was waiting for, and nobody else is."""
        left = (asked.request.id for asked in (*open.asks, *open.shares) if not asked.is_waited_for())
        orders.cancels.extend(id for id in dict.fromkeys(left) if id in self._asked)

    def _over(self, open: _Open, last: Last) -> Last:
        open.is_over = True
        del self._open[open.request.id]
        return last

    def check(self) -> None:
        """Assert what always holds between two calls; for tests."""
        waiting = Counter(open for asked in self._asked.values() for open, _ in _rows(asked) if not open.is_over)
        assert set(waiting) == set(self._open.values()), "who is not answered waits for something"
        assert all(open.num_left == waiting[open] for open in waiting), "each row that is left is waited for once"
        assert all(asked in self._asked.values() for asked in self._under_way.values()), "what is shared is asked"
        self.cache.check()


def tokens_of_texts(last: Embedded, texts: tuple[str, ...]) -> tuple[int, ...]:
    """Return the tokens of each text: as the engine counted them, else about, by length; their sum is the usage's.

    >>> about = Embedded(RequestId("a"), b"", 0, Usage(prompt_tokens=10), EngineId("e"))
    >>> tokens_of_texts(about, ("aaa", "a", "aaaaaa"))
    (3, 1, 6)
    """
    if last.text_tokens:
        return last.text_tokens
    total, num_characters, given, seen = last.usage.prompt_tokens, max(1, sum(map(len, texts))), 0, 0
    tokens = []
    for text in texts:
        seen += len(text)
        upto = round(total * seen / num_characters)
        tokens.append(upto - given)
        given = upto
    return tuple(tokens)


def _is_whole(last: Embedded, num_texts: int) -> bool:
    return len(last.vectors) == 4 * last.dim * num_texts and len(last.text_tokens) in (0, num_texts)


def _may_share(open: _Open, asked: _Asked, key: TextKey) -> bool:
    """Say whether what was asked for another comes no later than asked for this one; see the module."""
    is_urgent = _URGENCY[asked.request.service_class] <= _URGENCY[open.request.service_class]
    return is_urgent and asked.owner.deadline_s <= open.deadline_s and len(asked.waiting[key]) < MAX_SHARERS


def _fill_row(open: _Open, row: int, value: CachedVector, *, is_own: bool) -> None:
    open.rows[row] = value.vector
    open.num_left -= 1
    open.num_tokens += value.num_tokens
    if not is_own:
        open.cached_tokens += value.num_tokens


def _joined(open: _Open) -> Last:
    """Return the answer of all its rows. Vectors of two lengths are no answer: they came from two models."""
    lengths = sorted({len(row) // 4 for row in open.rows})
    if len(lengths) > 1:
        what = f"the vectors of {open.request.model!r} have {' and '.join(map(str, lengths))} numbers"
        error = RequestFailed(what, "Give models that are not the same names of their own.")
        return _failed(open.request.id, error)
    usage = Usage(prompt_tokens=open.num_tokens, cached_tokens=open.cached_tokens)
    engine_id = open.engine_id if open.engine_id is not None else EngineId("cache")
    return Embedded(open.request.id, b"".join(open.rows), lengths[0], usage, engine_id, served=open.served)


def _rows(asked: _Asked) -> Iterator[tuple[_Open, int]]:
    for waiting in asked.waiting.values():
        yield from waiting


def _failed(request_id: RequestId, error: SageError) -> Failed:
    return Failed(request_id, Failure.of(error))
