"""What the nemesis does to a cluster, and in which order: drawn from a seed. Pure; does nothing itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from random import Random


class Kind(StrEnum):
    """`KILL`: SIGKILL of a node. `PAUSE`: SIGSTOP, then SIGCONT, so that it returns from the dead. `CLIENT`: SIGKILL of
    whoever submitted. `HEAD`: SIGKILL of the head, which is started again. The others are partitions:

    `CUT`: a node hears nobody and nobody hears it. `MUTE`: the head does not hear a node, which hears the head.
    `DEAF`: the other way round. `APART`: two nodes do not reach each other; the head reaches both. `FLAP`: cut and
    mended again and again.
    """

    KILL = "kill"
    PAUSE = "pause"
    CLIENT = "client"
    HEAD = "head"
    CUT = "cut"
    MUTE = "mute"
    DEAF = "deaf"
    APART = "apart"
    FLAP = "flap"


PARTITIONS = (Kind.CUT, Kind.MUTE, Kind.DEAF, Kind.APART, Kind.FLAP)


class Where(Enum):
    """`ONE`: nodes that the head starts itself, over `ipc://`. `MACHINES`: a machine each, over `tcp://` with keys."""

    ONE = "one machine"
    MACHINES = "machines of their own"


@dataclass(frozen=True, slots=True)
class Injection:
    """`victim`: the number of a node. It strikes `after_s` of work and lasts `for_s`, where it lasts."""

    kind: Kind
    victim: int
    after_s: float
    for_s: float


@dataclass(frozen=True, slots=True)
class Episode:
    """The life of one cluster."""

    where: Where
    injections: tuple[Injection, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """How often what is done. `pause_s`: how long a pause lasts; `per_cluster`: what one cluster bears at most."""

    num_kills: int = 0
    num_pauses: int = 0
    num_partitions: int = 0
    num_clients: int = 0
    num_heads: int = 0
    pause_s: float = 10.0
    per_cluster: int = 5  # a head starts five nodes again within a minute


NUM_NODES = 3
_MOST_S = 1.0
_PARTITION_S = 5.0


def episodes(plan: Plan, rng: Random) -> Iterator[Episode]:
    """Yield what is done, a cluster each: partitions in turns with half of the heads, all else in any order."""
    heads_apart = plan.num_heads // 2 if plan.num_partitions else 0
    kinds = [Kind.KILL] * plan.num_kills + [Kind.PAUSE] * plan.num_pauses
    kinds += [Kind.CLIENT] * plan.num_clients + [Kind.HEAD] * (plan.num_heads - heads_apart)
    rng.shuffle(kinds)
    yield from _in_parts(Where.ONE, kinds, plan, rng)
    turns = [PARTITIONS[number % len(PARTITIONS)] for number in range(plan.num_partitions)]
    if turns:
        for _ in range(heads_apart):
            turns.insert(rng.randrange(len(turns) + 1), Kind.HEAD)
    yield from _in_parts(Where.MACHINES, turns, plan, rng)


def _in_parts(where: Where, kinds: list[Kind], plan: Plan, rng: Random) -> Iterator[Episode]:
    for first in range(0, len(kinds), plan.per_cluster):
        part = kinds[first : first + plan.per_cluster]
        yield Episode(where, tuple(_injection(kind, plan, rng) for kind in part))


def _injection(kind: Kind, plan: Plan, rng: Random) -> Injection:
    for_s = plan.pause_s if kind is Kind.PAUSE else _PARTITION_S if kind in PARTITIONS else 0.0
    return Injection(kind, rng.randrange(NUM_NODES), rng.uniform(0.0, _MOST_S), for_s)
