"""What the nemesis does to a cluster, and in which order: drawn from a seed. Pure; does nothing itself."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, StrEnum
from random import Random


class Kind(StrEnum):
    """`KILL`: SIGKILL of a node. `PAUSE`: SIGSTOP, then SIGCONT. A head kills those of its own nodes that
    stand still; on another machine the node returns from the dead. `CLIENT`: SIGKILL of
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
    """Yield what is done, a cluster each, in any order; where there are partitions, half of the pauses and heads too
    are on machines of their own."""
    here = {
        Kind.KILL: plan.num_kills,
        Kind.PAUSE: plan.num_pauses,
        Kind.CLIENT: plan.num_clients,
        Kind.HEAD: plan.num_heads,
    }
    apart = Counter(PARTITIONS[number % len(PARTITIONS)] for number in range(plan.num_partitions))
    if apart:
        for kind in (Kind.PAUSE, Kind.HEAD):
            apart[kind] = here[kind] // 2
            here[kind] -= apart[kind]
    for where, kinds in ((Where.ONE, Counter(here)), (Where.MACHINES, apart)):
        todo = list(kinds.elements())
        rng.shuffle(todo)
        yield from _in_parts(where, todo, plan, rng)


def _in_parts(where: Where, kinds: list[Kind], plan: Plan, rng: Random) -> Iterator[Episode]:
    for first in range(0, len(kinds), plan.per_cluster):
        part = kinds[first : first + plan.per_cluster]
        yield Episode(where, tuple(_injection(kind, plan, rng) for kind in part))


def _injection(kind: Kind, plan: Plan, rng: Random) -> Injection:
    for_s = plan.pause_s if kind is Kind.PAUSE else _PARTITION_S if kind in PARTITIONS else 0.0
    return Injection(kind, rng.randrange(NUM_NODES), rng.uniform(0.0, _MOST_S), for_s)
