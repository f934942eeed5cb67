"""Finds who runs flows at an address, by the entry points that packages offer. Knows no runner."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import cast

from sage.base.entry_points import EntryPoint, find_entry_points
from sage.base.errors import UnknownAddress
from sage.flow.runner import Cluster, Runner

GROUP = "sage.runners"


def connect(address: str | None = None) -> Cluster:
    """Return the cluster at `address`; without one, a cluster in this process. Use it in a `with` statement.

    The part before the first ":" names the runner: "local", "tcp://HOST:PORT". Raises UnknownAddress where no
    installed package serves it.
    """
    return runner_of_address(address, find_entry_points(GROUP))(address)


def runner_of_address(address: str | None, offers: Mapping[str, EntryPoint]) -> Runner:
    """Return the one of `offers` that serves `address`; raises UnknownAddress, which lists them."""
    scheme = "local" if address is None else _scheme(address)
    if scheme not in offers:
        raise UnknownAddress(f"no runner serves the address {address or 'local'!r}", _advice(scheme, sorted(offers)))
    return cast(Runner, offers[scheme].load())


def _scheme(address: object) -> str:
    if not isinstance(address, str):
        what = f"an address is text, got {address!r:.80} ({type(address).__name__})"
        raise UnknownAddress(what, 'Write sage.connect("local:4") or sage.connect("tcp://HOST:PORT").')
    return address.partition(":")[0]


def _advice(scheme: str, known: list[str]) -> str:
    if not known:
        return "No runner is installed: pip install sage-engine, or pip install -e . in its folder."
    near = get_close_matches(scheme, known, n=1)
    meant = f'Did you mean "{near[0]}"? ' if near else ""
    return f"{meant}Known are: {', '.join(known)}; no address means this process."
