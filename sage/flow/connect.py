"""Finds who runs flows at an address, by the entry points that packages offer. Knows no runner."""

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points

from sage.base.errors import UnknownAddress
from sage.flow.runner import Cluster, Runner

GROUP = "sage.runners"


def connect(address: str | None = None) -> Cluster:
    """Return the cluster at `address`; without one, a cluster in this process. Use it in a `with` statement.

    The part before the first ":" names the runner: "local", "tcp://HOST:PORT". Raises UnknownAddress where no
    installed package serves it.
    """
    return runner_of_address(address, entry_points(group=GROUP))(address)


def runner_of_address(address: str | None, offers: Iterable[EntryPoint]) -> Runner:
    """Return the one of `offers` that serves `address`; raises UnknownAddress, which lists them."""
    by_scheme = {offer.name: offer for offer in offers}
    scheme = "local" if address is None else address.partition(":")[0]
    if scheme not in by_scheme:
        raise UnknownAddress(f"no runner serves the address {address or 'local'!r}", _advice(scheme, sorted(by_scheme)))
    runner: Runner = by_scheme[scheme].load()
    return runner


def _advice(scheme: str, known: list[str]) -> str:
    if not known:
        return "No runner is installed: pip install sage-engine, or pip install -e . in its folder."
    near = get_close_matches(scheme, known, n=1)
    meant = f'Did you mean "{near[0]}"? ' if near else ""
    return f"{meant}Known are: {', '.join(known)}; no address means this process."
