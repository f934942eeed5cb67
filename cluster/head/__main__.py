"""Runs a head: `python -m cluster.head --config JSON --alive-fd N`. Knows nothing of what the head does.

Once its nodes have joined it writes a line to `alive-fd`, HeadReady or else HeadFailed; that ends with the process.
Before it is anything, it forks its nodes off, so that what all of them need is imported once.
"""

import argparse
import contextlib
import faulthandler
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable

import msgspec

from cluster.head.config import HeadConfig, HeadFailed, HeadReady
from cluster.runtime.forked_process import WaitingChild, fork_waiting
from sage.base.errors import SageError
from sage.base.log import set_up_log

_LAST_END_S = 15.0


def main() -> int:
    """Be a head until told to end; return the exit status."""
    parser = argparse.ArgumentParser(prog="sage head")
    parser.add_argument("--config", required=True)
    parser.add_argument("--alive-fd", type=int, required=True)
    arguments = parser.parse_args()
    os.set_inheritable(arguments.alive_fd, False)
    faulthandler.enable()
    config = msgspec.json.decode(arguments.config, type=HeadConfig)
    set_up_log(config.settings.log)
    nodes = _forked_nodes(config.num_nodes, arguments.alive_fd)
    try:
        return _serve(config, arguments.alive_fd, nodes)
    except SageError as error:
        print(error, file=sys.stderr, flush=True)
        _say(arguments.alive_fd, HeadFailed(error.code, error.what, error.do))
        return 1


def _forked_nodes(num_nodes: int, alive_fd: int) -> tuple[WaitingChild, ...]:
    """Fork off processes that wait to be told which nodes they are; none where systems forbid what threads began."""
    if sys.platform != "linux" or not num_nodes:
        return ()
    gc.disable()  # what is imported stays
    from cluster.node import __main__ as node
    from cluster.node import process  # noqa: F401 - all that a node needs, which it would import by itself

    gc.freeze()  # else the first collection in each of them would copy it all
    gc.enable()
    return fork_waiting(num_nodes, node.be_node, closes=(alive_fd,))


def _serve(config: HeadConfig, alive_fd: int, nodes: tuple[WaitingChild, ...]) -> int:
    from cluster.head.process import Head

    head = Head(config, nodes=nodes)
    signal.signal(signal.SIGTERM, lambda *_: head.ask_to_stop())
    signal.signal(signal.SIGINT, signal.SIG_IGN if config.is_child else lambda *_: head.ask_to_stop())
    if config.is_child:
        threading.Thread(target=_end_with_parent, args=(head.ask_to_stop,), name="parent-watch", daemon=True).start()
    try:
        if _say(alive_fd, head.start()):  # else whoever started it was killed: nobody knows of it, so it ends
            head.wait()
    finally:
        head.close()
    return 0


def _say(alive_fd: int, word: HeadReady | HeadFailed) -> bool:
    """Say `word` to whoever waits for it; False where nobody does any more."""
    with contextlib.suppress(BrokenPipeError):
        return os.write(alive_fd, msgspec.json.encode(word) + b"\n") > 0
    return False


def _end_with_parent(ask_to_stop: Callable[[], None]) -> None:
    """End in good order as soon as the parent is gone; where that takes too long, end at once."""
    stdin = sys.stdin.fileno()
    while os.read(stdin, 4096):
        pass
    ask_to_stop()
    threading.Event().wait(_LAST_END_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
