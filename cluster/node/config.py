"""What a node process is told when it is started. Knows nothing of how it is started."""

import os
from pathlib import Path

import msgspec

from sage.base.settings import Settings

WITHIN = "SAGE_WITHIN"
"""In the environment of a node process: its name. What it loads must not start clusters, or each would load it anew."""


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`head`: the address of its control; `head_key` its public key (Z85), "" over `ipc://`.

    `data_address`: where it takes records; port 0 takes any. `share`: which part of the machine it offers, the first
    number of the second: nodes of one machine share it. `key`: the name of its keys in `keys_folder`, by default the
    node's. `is_child`: it ends with the process that started it, and where that was killed removes its own `folder` and
    that process's `place`. `takes_any_file`: whoever names a file to it is its own user. `presence`: the file by whose
    lock the head after its own knows whether it lives; "" where no head may come after.
    """

    head: str
    name: str
    data_address: str
    settings: Settings = Settings()
    head_key: str = ""
    keys_folder: str = ""
    key: str = ""
    share: tuple[int, int] = (0, 1)
    cpus: float | None = None
    num_gpus: int | None = None
    is_child: bool = True
    folder: str = ""
    place: str = ""
    takes_any_file: bool = False
    presence: str = ""


def offered_folders(config: NodeConfig, working: Path) -> tuple[Path, ...] | None:
    """Return the folders below which others may name files to a node, started in `working`; None: all."""
    if config.takes_any_file and not config.settings.node.code_dirs:
        return None
    named = [Path(folder).expanduser() for folder in config.settings.node.code_dirs.split(os.pathsep) if folder]
    return tuple(named) or (working,)
