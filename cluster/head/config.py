"""What a head process is told when it is started. Knows nothing of how it is started."""

import msgspec

from cluster.serving.engines.spec import EngineSpec
from sage.base.settings import Settings


class HeadConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`folder` is the cluster's, taken by nobody else. `num_nodes` are started with it and end with it.

    `state_folder`: where its journal of jobs stays when it ends; "": its jobs end with it.

    `listen`: a `tcp://` address for other machines, which needs `keys_folder`; this machine has a socket in `folder`.
    `engines` are started at once, those of the settings when a flow needs them. `submitters`: keys (hex) that may sign
    shipped code, besides those of the allow-list; `ships_code` False: nobody may. `cpus` and `num_gpus` are for
    all its nodes together, by default all there are. `is_child`: it ends with its parent.
    """

    name: str
    folder: str
    num_nodes: int
    settings: Settings = Settings()
    engines: tuple[EngineSpec, ...] = ()
    listen: str | None = None
    keys_folder: str = ""
    submitters: tuple[str, ...] = ()
    ships_code: bool = True
    cpus: float | None = None
    num_gpus: int | None = None
    is_child: bool = True
    state_folder: str = ""


class HeadReady(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """What a head writes to its parent once its nodes have joined. `address`: that for other machines."""

    control: str
    address: str | None
    pid: int


class HeadFailed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """What it writes instead: code, what and what to do of the error that ended it."""

    code: str
    what: str
    do: str
