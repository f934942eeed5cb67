"""Print what the process of an engine wrote, and go on with what it writes. Knows not where it runs.

What the verb needs is imported where it runs, to keep --help light.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from cluster.commands.cluster_reach import DEFAULT_NAME, Address, Gateway, GatewayKey, Name, check_gateway, reach
from cluster.commands.show import INTERRUPTED, Json, print_json

if TYPE_CHECKING:
    from cluster.runtime.control_engine_log import EngineLog, LogMark

LOOK_EVERY_S = 0.5

ReadLog = Callable[["LogMark | None"], "EngineLog"]
"""Returns what follows a mark, or the newest."""

OneEngine = Annotated[str, typer.Argument(metavar="NAME", help="An engine, or one replica of it: see list.")]


def logs(
    engine: OneEngine,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the engine ends, or Ctrl-C.")] = False,
    name: Name = DEFAULT_NAME,
    address: Address = None,
    gateway: Gateway = None,
    key_env: GatewayKey = "",
    json: Json = False,
) -> None:
    """Print the newest that the process of an engine wrote: 64 KiB at most.

    The engine is one of a running cluster, on whichever node, or of a gateway.
    """
    check_gateway(gateway, key_env, name=name, address=address)
    if follow and json:
        raise typer.BadParameter("lines that are still to come are no JSON document", param_hint="--json")
    with _read_log(engine, name, address, gateway, key_env) as read:
        pieces = pieces_of(read, _wait)
        if json:
            print_json({"engine_id": engine, "lines": next(pieces).splitlines()})
            return
        try:
            print(next(pieces), end="", flush=True)
            if follow:
                print_followed(pieces)
        except KeyboardInterrupt as stop:
            raise typer.Exit(INTERRUPTED) from stop


@contextmanager
def _read_log(engine: str, name: str, address: str | None, gateway: str | None, key_env: str) -> "Iterator[ReadLog]":
    """Give what reads the log of an engine of the gateway, or of the cluster where none is named."""
    from sage.base.ids import EngineId

    if gateway is not None:
        from cluster.commands.gateway_engines import log_of_gateway

        yield lambda mark: log_of_gateway(gateway, key_env, engine, mark)
    else:
        with reach(name, address) as cluster:
            yield lambda mark: cluster.engine_admin.log(EngineId(engine), mark)


def print_followed(pieces: Iterator[str]) -> None:
    """Print what comes until the engine of which something was shown has ended, and say that it has."""
    from sage.base.errors import InvalidRequest

    try:
        for text in pieces:
            print(text, end="", flush=True)
    except InvalidRequest as ended:
        typer.echo(f"{ended.what}: that is all", err=True)


def pieces_of(read: ReadLog, wait: Callable[[], object]) -> Iterator[str]:
    """Give the newest of a log from a line's beginning on, then, for ever, what comes; `wait` is called where none is.

    What is no UTF-8 is shown as such; a character may be cut between two pieces.
    """
    import codecs

    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    log = read(None)
    is_cut = log.mark.at_byte > len(log.data)
    whole = log.data.partition(b"\n")[2] if is_cut else log.data
    yield decoder.decode(whole or log.data)  # of a line that is longer than a piece, what there is
    while True:
        log = read(log.mark)
        if log.data:
            yield decoder.decode(log.data)
        else:
            wait()


def _wait() -> None:
    threading.Event().wait(LOOK_EVERY_S)
