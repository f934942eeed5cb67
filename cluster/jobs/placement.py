"""Which node runs which part. Pure: the same parts, nodes and holdings give the same placement.

Engine hosts go first, then the greediest parts. An engine goes where fewest others serve its model (`SPREAD`), then
where most parts ask it; another part goes where the engines of its models are. Among those: where most (`SPREAD`) or
least (`PACK`) is left; then to what it exchanges batches with; then to the first node. What does not fit there goes
elsewhere: no node is ever given more than it offers.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from heapq import heapify, heappop, heappush
from itertools import groupby

from cluster.jobs.gpus import GpuShare
from cluster.jobs.no_room import no_room
from cluster.jobs.parts import Part
from cluster.jobs.room import Placed, Room, Want, Why
from sage.base.errors import NoRoom
from sage.base.ids import NodeId
from sage.base.offer import NodeOffer


class Strategy(StrEnum):
    """What is taken first: the node with the most room, or the one with the least that still does."""

    SPREAD = "spread"
    PACK = "pack"


@dataclass(frozen=True, slots=True)
class Placement:
    """Where everything is, in the order in which it was asked for."""

    placed: tuple[Placed, ...] = ()

    def nodes(self) -> dict[str, NodeId]:
        """Return the node of each part by the part's id."""
        return {placed.part.id: placed.node_id for placed in self.placed}


_MANY = 1_000_000

_Entry = tuple[int, bool, float, int, int]
"""A node weighed, less is better: how near it is to those the part speaks to, as `_nearness` has it; whether it were
over full; how full, by strategy; then its number, and how many parts it had."""


def place(
    parts: Sequence[Part],
    offers: Mapping[NodeId, NodeOffer],
    *,
    taken: Iterable[Placed] = (),
    strategy: Strategy = Strategy.SPREAD,
) -> Placement:
    """Return a node for each part. `taken` is what other parts hold already.

    What cannot be spread is packed. Raises NoRoom that says what is missing where.
    """
    return replace(Placement(), parts, offers, taken=taken, strategy=strategy)


def replace(
    previous: Placement,
    parts: Sequence[Part],
    offers: Mapping[NodeId, NodeOffer],
    *,
    taken: Iterable[Placed] = (),
    strategy: Strategy = Strategy.SPREAD,
) -> Placement:
    """Return a node for each part, which stays where `previous` has it if it still fits there.

    Where the others find no room then, all are placed anew. Raises NoRoom as `place` does.
    """
    held = tuple(taken)
    first: NoRoom | None = None
    for stay, how in dict.fromkeys(_tries(previous, strategy)):
        try:
            return _Placing(rooms_of(offers, held), how, previous).place(parts, stay)
        except NoRoom as error:
            first = first or error
    assert first is not None
    raise first


def rooms_of(offers: Mapping[NodeId, NodeOffer], taken: Iterable[Placed]) -> list[Room]:
    """Return what is left of every node; what is placed on others does not count."""
    rooms = {node_id: Room(node_id, offer) for node_id, offer in offers.items()}
    for placed in taken:
        if (room := rooms.get(placed.node_id)) is not None:
            room.take(placed)
    return list(rooms.values())


class _Stay(Enum):
    """Which parts stay where they were: all that fit, those that fit when their turn comes, or none."""

    FIRST = 1
    IN_TURN = 2
    NEVER = 3


def _tries(previous: Placement, strategy: Strategy) -> Iterator[tuple[_Stay, Strategy]]:
    for stay in _Stay if previous.placed else (_Stay.NEVER,):
        yield stay, strategy
        yield stay, Strategy.PACK


class _Placing:
    """One go at placing parts on nodes."""

    def __init__(self, rooms: list[Room], strategy: Strategy, previous: Placement) -> None:
        self._rooms = rooms
        self._is_packed = strategy is Strategy.PACK
        self._previous = {placed.part.id: placed for placed in previous.placed}
        self._numbers = {room.node_id: number for number, room in enumerate(rooms)}
        self._placed: dict[str, Placed] = {}

    def place(self, parts: Sequence[Part], stay: _Stay) -> Placement:
        in_turn = _in_turn(parts)
        if stay is _Stay.FIRST:
            for part in in_turn:
                self._stays(part, Want(part))
        left = [part for part in in_turn if part.id not in self._placed]
        for _, alike in groupby(left, key=_shape):
            self._place_alike(tuple(alike), may_stay=stay is _Stay.IN_TURN)
        return Placement(tuple(self._placed[part.id] for part in parts))

    def _stays(self, part: Part, want: Want) -> int | None:
        """Place the part where it was, if it fits there, and return the number of its node."""
        before = self._previous.get(part.id)
        number = self._numbers.get(before.node_id) if before is not None else None
        if before is None or number is None or not self._rooms[number].fits(want):
            return None
        self._take(number, part, want, Why(has_stayed=True), before.gpus)
        return number

    def _place_alike(self, parts: Sequence[Part], *, may_stay: bool) -> None:
        """Place parts that differ only by their ids: after each, only the node that took it is weighed anew."""
        want = Want(parts[0])
        weighed = [self._weigh(number, want) for number, room in enumerate(self._rooms) if room.fits(want)]
        heapify(weighed)
        num_fitting = len(weighed)
        for part in parts:
            number = self._stays(part, want) if may_stay else None
            if number is None:
                while weighed and weighed[0][4] != self._rooms[weighed[0][3]].num_parts:
                    heappop(weighed)  # a part came to it since it was weighed
                if not weighed:
                    raise no_room(part, self._rooms)
                number = self._choose(part, want, weighed[0], num_fitting)
            if self._rooms[number].fits(want):
                heappush(weighed, self._weigh(number, want))
            else:
                num_fitting -= 1

    def _weigh(self, number: int, want: Want) -> _Entry:
        """Return an entry that is smaller the better the node, which has room, suits the part."""
        room = self._rooms[number]
        load = room.load_with(want)
        is_over = load > 1.0
        near = self._nearness(room, want) if want.asks or want.is_engine else 0
        return near, is_over, -load if self._is_packed and not is_over else load, number, room.num_parts

    def _nearness(self, room: Room, want: Want) -> int:
        """Return a number that is smaller the better the node is for what passes between the part and others."""
        if not want.is_engine:
            return -len(room.hosts(want.asks))
        near = -min(room.num_asking(want.serves), _MANY - 1)
        return near if self._is_packed else near + _MANY * room.num_serving(want.serves)

    def _choose(self, part: Part, want: Want, best: _Entry, num_fitting: int) -> int:
        """Place the part on the best node, or on one as good where a neighbour is, and return its number."""
        number, beside = self._neighbour(part, want, best) or (best[3], "")
        room = self._rooms[number]
        why = Why(
            near=room.hosts(part.asks), num_asking=room.num_asking(part.serves), beside=beside,
            num_fitting=num_fitting, num_nodes=len(self._rooms), load=room.load_with(want),
        )  # fmt: skip
        self._take(number, part, want, why)
        return number

    def _neighbour(self, part: Part, want: Want, best: _Entry) -> tuple[int, str] | None:
        for other_id in part.beside:
            if (other := self._placed.get(other_id)) is not None:
                number = self._numbers[other.node_id]
                if self._rooms[number].fits(want) and self._weigh(number, want)[:3] == best[:3]:
                    return number, other.part.what
        return None

    def _take(self, number: int, part: Part, want: Want, why: Why, before: tuple[GpuShare, ...] = ()) -> None:
        room = self._rooms[number]
        placed = Placed(part, room.node_id, room.shares_for(want, before), why)
        room.take(placed)
        self._placed[part.id] = placed


def _in_turn(parts: Sequence[Part]) -> list[Part]:
    """Engine hosts, then the greediest parts first; parts of one shape stand together."""
    firsts: dict[object, int] = {}
    for number, part in enumerate(parts):
        firsts.setdefault(_shape(part), number)
    return sorted(parts, key=lambda part: (*_greed(part), firsts[_shape(part)]))


def _greed(part: Part) -> tuple[bool, float, int, float, int]:
    demand = part.demand
    return (not part.serves, -demand.gpus, -demand.gpu_memory_bytes, -demand.cpus, -demand.memory_bytes)


def _shape(part: Part) -> object:
    """Return what decides where a part fits, apart from what is there already."""
    return part.demand, part.asks, part.serves, part.apart, part.engine
