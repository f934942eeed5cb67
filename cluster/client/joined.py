"""The process of a machine that has joined: a node that outlives whoever started it. Knows nothing of what nodes do.

    python -m cluster.client.joined --config JSON --alive-fd N

It holds the cluster's place on this machine. Once the head has admitted it, or refused, it says so in a line to
`alive-fd`, as a head does.
"""

import argparse
import contextlib
import faulthandler
import os
import signal
import sys
from pathlib import Path

import msgspec

from cluster.head.config import HeadFailed, HeadReady
from cluster.node.config import WITHIN, NodeConfig
from cluster.node.process import NodeProcess
from cluster.runtime.place import Beacon, ClusterPlace
from sage.base.clock import SystemClock
from sage.base.errors import ClusterRunning, SageError
from sage.base.log import set_up_log


class JoinedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`folder`: the place of the cluster `name` on this machine."""

    name: str
    folder: str
    node: NodeConfig


def main() -> int:
    """Be a node until told to end, by the head or by SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(prog="sage joined node")
    parser.add_argument("--config", required=True)
    parser.add_argument("--alive-fd", type=int, required=True)
    arguments = parser.parse_args()
    os.set_inheritable(arguments.alive_fd, False)
    faulthandler.enable()
    config = msgspec.json.decode(arguments.config, type=JoinedConfig)
    set_up_log(config.node.settings.log)
    os.environ[WITHIN] = config.node.name
    try:
        return _run(config, arguments.alive_fd)
    except SageError as error:
        print(error, file=sys.stderr, flush=True)
        _say(arguments.alive_fd, HeadFailed(error.code, error.what, error.do))
        return 1


def _run(config: JoinedConfig, alive_fd: int) -> int:
    place = ClusterPlace(config.name, Path(config.folder))
    place.make()
    lock = place.take()
    if lock is None:
        raise ClusterRunning(f"cluster {config.name} runs here already", "See: sage-cluster status.")
    try:
        return _be_node(config, place, alive_fd)
    finally:
        place.remove()
        os.close(lock)


def _be_node(config: JoinedConfig, place: ClusterPlace, alive_fd: int) -> int:
    beacon = Beacon(config.name, os.getpid(), "", config.node.head, SystemClock().unix_s(), joined_as=config.node.name)
    place.say(beacon)
    ready, is_first = HeadReady("", config.node.head, os.getpid()), iter([True])

    def on_admitted() -> None:
        if next(is_first, False) and not _say(alive_fd, ready):
            node.end()  # whoever started it was killed: nobody knows of it

    node = NodeProcess(config.node, on_admitted=on_admitted)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: node.end())
    status = node.run()
    if node.error is not None:
        _say(alive_fd, HeadFailed(node.error.code, node.error.what, node.error.do))
    return status


def _say(alive_fd: int, word: HeadReady | HeadFailed) -> bool:
    """Say `word` to whoever waits for it; False where nobody does any more."""
    with contextlib.suppress(BrokenPipeError):
        return os.write(alive_fd, msgspec.json.encode(word) + b"\n") > 0
    return False


if __name__ == "__main__":
    sys.exit(main())
