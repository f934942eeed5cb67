"""Start a cluster of this machine in the background. Knows nothing of how a head works, nor how it is spoken to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.client.head_start import start_head
from cluster.client.own_name import own_name
from cluster.client.tokens import HEAD_KEY
from cluster.head.config import HeadConfig
from cluster.runtime.addresses import TcpAddress, parse_address
from cluster.runtime.keys import KnownHead, open_keys
from cluster.runtime.place import Beacon, clear_abandoned, place_of_cluster, state_of_cluster
from cluster.runtime.private_files import make_private_directory
from cluster.serving.engines.spec import EngineSpec
from sage.base.clock import SystemClock
from sage.base.errors import ConfigInvalid, InternalError
from sage.base.hosts import is_wildcard
from sage.base.settings import Settings

if TYPE_CHECKING:
    from cluster.jobs.mended_journal import Mending


@dataclass(frozen=True, slots=True)
class ClusterWish:
    """What a cluster to be started is like; see HeadConfig. `cpus` and `num_gpus` are for all its nodes together."""

    name: str
    num_nodes: int
    listen: str | None
    engines: Sequence[EngineSpec]
    ships_code: bool
    cpus: float | None
    num_gpus: int | None
    mends_journal: bool = False


def start_cluster(wish: ClusterWish, settings: Settings) -> tuple[Beacon, "Mending | None"]:
    """Start head, control plane and nodes, which outlive this process, and return where they are.

    And what was saved of its journal, where that was damaged and is to be mended.

    Raises: ClusterRunning where one of this name runs here, ClusterStartFailed, KeysUnsafe, ConfigInvalid,
    JournalUnusable.
    """
    check_address(wish.listen)
    place = place_of_cluster(wish.name)
    clear_abandoned()
    place.check_free()
    place.make()
    keys = open_keys(wish.name, settings.cluster)
    keys.admit_self(own_name(), SystemClock().unix_s())
    state_folder = state_of_cluster(wish.name, settings.cluster)
    try:
        mending = _mended(state_folder) if wish.mends_journal else None
        head = start_head(
            HeadConfig(
                name=wish.name,
                folder=str(place.folder),
                num_nodes=wish.num_nodes,
                settings=settings,
                engines=tuple(wish.engines),
                listen=wish.listen,
                keys_folder=str(keys.directory) if wish.listen is not None else "",
                submitters=(keys.signing().public_key,),
                ships_code=wish.ships_code,
                is_child=False,
                state_folder=str(state_folder),
                cpus=wish.cpus,
                num_gpus=wish.num_gpus,
            )
        )
    except BaseException:
        if not place.lives():
            place.remove()
        raise
    if head.ready.address is not None:
        keys.remember_head(KnownHead(head.ready.address, keys.curve(HEAD_KEY).public_key))
    head.let_go()
    beacon = place.beacon()
    if beacon is None:
        raise InternalError(f"cluster {wish.name} is ready and says nothing of itself in {place.folder}")
    return beacon, mending


def _mended(state_folder: Path) -> "Mending | None":
    from cluster.jobs.mended_journal import (
        mend_journal,
    )  # with it come all messages of a cluster: two fifths of a start
    from cluster.jobs.sqlite_journal import JOURNAL

    return mend_journal(make_private_directory(state_folder) / JOURNAL, SystemClock().unix_s())


def check_address(address: str | None) -> None:
    """Refuse an address by which no other machine reaches this one: all that join, and their nodes, are told of it.

    Raises ConfigInvalid.
    """
    if address is None:
        return
    where = parse_address(address)
    if not isinstance(where, TcpAddress):
        do = "Write tcp://HOST:PORT, or leave it away: without it this machine alone has to do with the cluster."
        raise ConfigInvalid(f"{address} is no address for other machines", do, param="address")
    if is_wildcard(where.host):
        raise ConfigInvalid(
            f"{address} is no address by which other machines reach this one",
            f"Name the one that they do: --address tcp://HOST:{where.port or '*'}.",
            param="address",
        )
