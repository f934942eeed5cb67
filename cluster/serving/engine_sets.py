"""Which engines serve each lane, and which of them have room, as the route would take them. Knows no queue.

Lanes that the same engines serve share one set of them: chat and raw prompts of a model, and the adapters (LoRA) that
the same engines offer, however many. So an engine that changes gets one new place for all of them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from cluster.serving.account import EngineAccount
from cluster.serving.ticket import Lane
from sage.base.inference import TEXT_KINDS

Place = tuple[float, int, int, EngineAccount]  # standing by the route, last pick (unique unless 0), version, account


@dataclass(slots=True, eq=False)
class EngineSet:
    """The engines of some lanes, with room or without; `heap`: those with room, and places that are void by now;
    `lesser`: the same of those that are slower than others or have a shorter context, of each kind.

    To engines of a lane that is an adapter of theirs room is what can load one: who has it ready stands elsewhere.
    `num_able`: those that are not to end and have a slot, whether they have room for a prompt or not.
    """

    is_of_texts: bool
    lanes: dict[Lane, None] = field(default_factory=dict)
    accounts: list[EngineAccount] = field(default_factory=list)
    heap: list[Place] = field(default_factory=list)
    lesser: dict[tuple[float, int], list[Place]] = field(default_factory=dict)
    free_slots: int = 0
    kept_slots: int = 0
    num_able: int = 0

    def first(self) -> EngineAccount | None:
        """Return the engine with room that stands first; of equals, the one picked longest ago."""
        if not self.lesser:
            return _top(self.heap) if self.heap else None
        tops = [heap[0] for heap in (self.heap, *self.lesser.values()) if _top(heap) is not None]
        return min(tops)[3] if tops else None

    def tops(self) -> list[EngineAccount]:
        """Return of each kind the engine with room that stands first, the fastest before the others."""
        tops = [_top(heap) for heap in (self.heap, *(self.lesser[kind] for kind in sorted(self.lesser)))]
        self.lesser = {kind: heap for kind, heap in self.lesser.items() if heap}
        return [top for top in tops if top is not None]

    def put(self, place: Place) -> None:
        """Give an engine with room its place."""
        speed = place[3].speed
        heap = self.heap if speed.is_best else self.lesser.setdefault((speed.slowness, -speed.context_tokens), [])
        heappush(heap, place)
        if len(heap) > 4 * len(self.accounts) + 16:
            heap[:] = [place for place in heap if place[2] == place[3].version]
            heapify(heap)

    def clear(self) -> None:
        """Let no engine stand anywhere."""
        self.heap.clear()
        self.lesser.clear()

    def is_full(self, *, are_mixed: bool) -> bool:
        """Say whether they work on nearly as many requests as they can; where some are slower, whether the others
        do. O(engines) there, else O(1)."""
        least = min(each.slowness for each in self.accounts) if are_mixed else 1.0
        slower = [each for each in self.accounts if each.slowness != least] if are_mixed else ()
        free_slots = self.free_slots - self.kept_slots
        free_slots -= sum(each.free_slots() - each.kept_slots for each in slower)
        return free_slots <= len(self.accounts) - len(slower)

    def num_as_fast(self, *, are_mixed: bool) -> float:
        """Return how many of the fastest would be as fast as all are together. Costs as much as `is_full`."""
        if not are_mixed:
            return float(len(self.accounts))
        return min(each.slowness for each in self.accounts) * sum(1.0 / each.slowness for each in self.accounts)

    def count(self, account: EngineAccount, sign: int) -> None:
        """Let an engine, as the router last looked at it, come or go."""
        self.free_slots += sign * account.num_free
        self.kept_slots += sign * account.kept_slots
        self.num_able += sign * account.is_able

    def check(self) -> None:
        """Assert what always holds; for tests."""
        assert self.free_slots == sum(each.free_slots() for each in self.accounts), "slots are counted"
        able = [each for each in self.accounts if not each.is_retired and each.free_slots() > 0]
        assert self.kept_slots == sum(each.kept_slots for each in self.accounts), "as are those kept"
        assert self.num_able == len(able), "engines with slots are counted"


class EngineSets:
    """The set of each lane, and the sets of each engine, with whether their lanes are adapters of it."""

    def __init__(self) -> None:
        self._of_lane: dict[Lane, EngineSet] = {}
        self._of_engine: dict[EngineAccount, list[tuple[EngineSet, bool]]] = {}
        self.of = self._of_lane.get  # asked several times in each decision: no call but the dict's own

    def __contains__(self, lane: Lane) -> bool:
        return lane in self._of_lane

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._of_lane)

    def of_engine(self, account: EngineAccount) -> list[EngineSet]:
        return [engines for engines, _ in self._of_engine[account]]

    def keep(self, account: EngineAccount, kept_slots: int) -> None:
        """Let so many slots of an engine be kept for what is sparse."""
        for engines, _ in self._of_engine[account]:
            engines.kept_slots += kept_slots - account.kept_slots
        account.kept_slots = kept_slots

    def look(self, account: EngineAccount, num_free: int, place: Place | None) -> None:
        """Take how many slots of an engine are free now; `place`: what it gets where it has room, None where it is not
        able."""
        is_able = place is not None
        num_freed, more_able = num_free - account.num_free, is_able - account.is_able
        account.num_free, account.is_able = num_free, is_able
        slots = account.slots
        for engines, is_adapter in self._of_engine[account]:
            engines.free_slots += num_freed
            engines.num_able += more_able
            if place is None or (is_adapter and slots is not None and not slots.can_load):
                continue
            if account.has_room_for_texts() if engines.is_of_texts else account.is_open:
                engines.put(place)

    def all(self) -> Iterable[EngineSet]:
        return dict.fromkeys(self._of_lane.values())

    def add(self, account: EngineAccount) -> None:
        """Let an engine serve its lanes; O(lanes), and O(engines) more where it serves a part only of those of a set.

        Those engines stand in no heap of a new set until they are looked at: the caller does.
        """
        own: list[tuple[EngineSet, bool]] = []
        for (before, is_of_texts, is_adapter), lanes in self._parts(account).items():
            if before is not None and len(lanes) == len(before.lanes):
                joined = before
            else:
                joined = self._split(before, lanes) if before is not None else EngineSet(is_of_texts)
                joined.lanes.update(dict.fromkeys(lanes))
                self._of_lane.update(dict.fromkeys(lanes, joined))
            joined.accounts.append(account)
            joined.count(account, 1)
            own.append((joined, is_adapter))
        self._of_engine[account] = own

    def remove(self, account: EngineAccount) -> None:
        """Let an engine serve nothing any more."""
        for each, _ in self._of_engine.pop(account):
            each.accounts.remove(account)
            each.count(account, -1)
            if not each.accounts:
                for lane in each.lanes:
                    del self._of_lane[lane]

    def _parts(self, account: EngineAccount) -> dict[tuple[EngineSet | None, bool, bool], list[Lane]]:
        """Return the lanes of an engine, those together that stay together."""
        parts: dict[tuple[EngineSet | None, bool, bool], list[Lane]] = {}
        for lane in account.lanes:
            part = self._of_lane.get(lane), lane.kind in TEXT_KINDS, account.adapter_of(lane) is not None
            parts.setdefault(part, []).append(lane)
        return parts

    def _split(self, before: EngineSet, lanes: Iterable[Lane]) -> EngineSet:
        """Return a set of its own for some lanes of a set, with the same engines, all in the same ways."""
        for lane in lanes:
            del before.lanes[lane]
        split = EngineSet(before.is_of_texts, accounts=list(before.accounts), heap=list(before.heap))
        split.lesser = {kind: list(heap) for kind, heap in before.lesser.items()}
        split.free_slots, split.kept_slots, split.num_able = before.free_slots, before.kept_slots, before.num_able
        for account in split.accounts:
            sets = self._of_engine[account]
            sets.append((split, next(is_adapter for each, is_adapter in sets if each is before)))
        return split


def _top(heap: list[Place]) -> EngineAccount | None:
    while heap:
        _, _, version, account = heap[0]
        if version == account.version:
            return account
        heappop(heap)
    return None
