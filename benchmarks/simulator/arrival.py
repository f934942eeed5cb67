"""A trace as a value: when which request came and how long it was. Knows no file and no engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from sage.base.inference import ServiceClass

TEXT_TOKENS = (20, 40, 75, 150, 250)
"""Of passages of 80, 160, 300, 600 and 1,000 characters, which `sage-benchmark cosched` embeds."""


@dataclass(frozen=True, slots=True)
class GraphCall:
    """A request's place among the calls about one record: it comes once those before it (`after`, by their `number`)
    have ended. `due_in_s`: how long after its first call the record is due."""

    flow: str
    step: str
    record: int
    number: int
    after: tuple[int, ...] = ()
    due_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request of a trace. `blocks` name the prompt's whole blocks of `block_tokens` tokens, from its beginning:
    equal names, equal tokens and equal beginnings. `session`: requests of one conversation have one, or None. `call`:
    its place in a graph of calls, or None; where it follows others, `at_s` is when the first of them comes. `adapter`:
    the one that it asks for in place of the model itself; blocks of different ones are never equal. `texts`: tokens of
    each of the texts that it embeds, `prompt_tokens` in all; of chat there are none."""

    at_s: float
    prompt_tokens: int
    answer_tokens: int
    blocks: tuple[int, ...] = ()
    block_tokens: int = 512
    session: int | None = None
    tenant: str = "default"
    service_class: ServiceClass = ServiceClass.INTERACTIVE
    call: GraphCall | None = None
    adapter: str | None = None
    texts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Arrivals in order of time, the first at 0."""

    name: str
    arrivals: tuple[Arrival, ...]

    @property
    def duration_s(self) -> float:
        return self.arrivals[-1].at_s if self.arrivals else 0.0

    def first(self, num: int) -> "Trace":
        """Return the trace cut after `num` arrivals."""
        return Trace(self.name, self.arrivals[:num])

    def drawn(self, num: int, *, seed: int) -> "Trace":
        """Return whole conversations, drawn by chance until they have `num` arrivals, of which the first are kept."""
        sessions: dict[object, int] = {}
        for number, arrival in enumerate(self.arrivals):
            session = ("alone", number) if arrival.session is None else arrival.session
            sessions[session] = sessions.get(session, 0) + 1
        order = list(sessions)
        Random(seed).shuffle(order)
        kept: set[object] = set()
        while order and sum(sessions[session] for session in kept) < num:
            kept.add(order.pop())
        found = [
            arrival
            for number, arrival in enumerate(self.arrivals)
            if (("alone", number) if arrival.session is None else arrival.session) in kept
        ]
        return trace_of(self.name, found[:num])

    def of(self, *tenants: str) -> "Trace":
        """Return what these tenants asked for, at the same times."""
        return Trace(self.name, tuple(arrival for arrival in self.arrivals if arrival.tenant in tenants))

    def mixed(self, shares: Mapping[ServiceClass, float], *, seed: int) -> "Trace":
        """Return the trace with each request of a class drawn by chance, by `shares` of the requests."""
        dealt = Random(seed).choices(tuple(shares), tuple(shares.values()), k=len(self.arrivals))
        arrivals = zip(self.arrivals, dealt, strict=True)
        return Trace(self.name, tuple(replace(arrival, service_class=each) for arrival, each in arrivals))

    def lasting(self, duration_s: float) -> "Trace":
        """Return the trace faster or slower, so that its last arrival is at `duration_s`."""
        speed = duration_s / self.duration_s if self.duration_s > 0.0 else 0.0
        return Trace(self.name, tuple(replace(a, at_s=a.at_s * speed) for a in self.arrivals))

    def apart(self) -> "Trace":
        """Return the trace with no request following another."""
        if all(arrival.call is None for arrival in self.arrivals):
            return self
        return Trace(self.name, tuple(replace(arrival, call=None) for arrival in self.arrivals))

    def with_texts(self, per_s: float, *, service_class: ServiceClass, seed: int) -> "Trace":
        """Return the trace with single texts to embed beside it, so many a second by chance (Poisson), as long as it
        lasts; of TEXT_TOKENS tokens each."""
        rng = Random(seed)
        texts: list[Arrival] = []
        at_s = rng.expovariate(per_s)
        while at_s < self.duration_s:
            tokens = rng.choice(TEXT_TOKENS)
            texts.append(Arrival(at_s, tokens, 0, texts=(tokens,), service_class=service_class))
            at_s += rng.expovariate(per_s)
        both = sorted((*self.arrivals, *texts), key=lambda arrival: arrival.at_s)
        return Trace(self.name, tuple(both))

    def at(self, moved: Sequence[tuple[float, Arrival]]) -> "Trace":
        """Return the trace with its arrivals at other times."""
        return trace_of(self.name, [replace(arrival, at_s=at_s) for at_s, arrival in moved])


def trace_of(name: str, arrivals: Sequence[Arrival]) -> Trace:
    """Return a trace of arrivals in any order; the first will be at 0."""
    ordered = sorted(arrivals, key=lambda arrival: arrival.at_s)
    start_s = ordered[0].at_s if ordered else 0.0
    return Trace(name, tuple(replace(a, at_s=a.at_s - start_s) for a in ordered))
