"""Ends the hosts of engines that no shell drives any more. Knows no plane."""

from collections.abc import Sequence

from cluster.serving.driver import HeldLink
from cluster.serving.engines.port import Shutdown
from sage.base.clock import Clock, SystemClock


def close_links(held_links: Sequence[HeldLink], timeout_s: float, *, clock: Clock | None = None) -> None:
    """End the hosts of detached links, side by side, within `timeout_s` for all; waits for it."""
    clock = clock if clock is not None else SystemClock()
    until_s = clock.monotonic_s() + timeout_s
    for held in held_links:
        held.link.send(Shutdown())
    for held in held_links:
        held.link.close(max(0.0, until_s - clock.monotonic_s()))
