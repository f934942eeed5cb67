"""Runs a node: `python -m cluster.node --config JSON`, or in a process that a head forked off. Knows not what it does.

A child ends with the process that started it: it alone holds the other end of our standard input.
"""

import argparse
import faulthandler
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import msgspec

from cluster.node.config import WITHIN, NodeConfig
from cluster.runtime.place import ClusterPlace
from cluster.runtime.presence import hold_presence
from sage.base.errors import SageError
from sage.base.log import set_up_log


def main() -> int:
    """Run the node that the command line describes; return the exit status."""
    parser = argparse.ArgumentParser(prog="sage node")
    parser.add_argument("--config", required=True)
    parser.add_argument("--alive-fd", type=int)
    arguments = parser.parse_args()
    if arguments.alive_fd is not None:
        os.set_inheritable(arguments.alive_fd, False)
    return be_node(arguments.config)


def be_node(config: str) -> int:
    """Run the node that `config`, a NodeConfig as JSON, describes; return the exit status."""
    return run_node(msgspec.json.decode(config, type=NodeConfig))


def run_node(config: NodeConfig) -> int:
    """Be a node until told to end, by the head or by SIGTERM; return the exit status."""
    from cluster.node.process import NodeProcess

    faulthandler.enable()
    set_up_log(config.settings.log)
    os.environ[WITHIN] = config.name
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # so that CUDA numbers GPUs as nvidia-smi and we do
    if config.is_child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to obey
        threading.Thread(target=_end_with_parent, args=(config, os.getppid()), name="parent-watch", daemon=True).start()
    try:
        if config.presence:
            hold_presence(Path(config.presence))  # until this process ends
        node = NodeProcess(config)
    except SageError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    for number in (signal.SIGTERM,) if config.is_child else (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: node.end())
    return node.run()


def _end_with_parent(config: NodeConfig, parent: int) -> None:
    """End this process as soon as the parent is gone, whatever its threads are doing, and leave no file behind.

    What the parent shared with others is removed unless another process has taken its place by then.
    """
    stdin = sys.stdin.fileno()
    while os.read(stdin, 4096):
        pass
    shutil.rmtree(config.folder, ignore_errors=True)
    if config.place:
        ClusterPlace("", Path(config.place)).clear_after(parent)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
