"""Until when something of the heads before this one may still run: nothing of it may meet what this head starts.

Nodes that were out of reach stop by themselves when their lease is over. Those of the head's own machine end with it,
and hold a lock until they have: where there were no others, nobody needs to be waited for.
"""

from pathlib import Path

import msgspec

from cluster.runtime.presence import nobody_is_present
from cluster.runtime.private_files import read_private, write_private
from sage.base.clock import Clock

PRESENCE = "nodes.lock"
_SAID = "head.json"
_GOING_S = 1.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Reign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a head says of itself to the next one.

    `boot`: which start of which machine it runs in; "" where that is not known. `takes_others`: other machines could
    join it. `over_s`: from when on nothing of the heads before it runs, by the monotonic clock of that boot.
    """

    boot: str
    takes_others: bool
    over_s: float


def reign_after(
    before: Reign | None, boot: str, now_s: float, *, takes_others: bool, are_gone: bool, lost_after_s: float
) -> Reign:
    """Return what a head says that begins at `now_s`; `are_gone`: no node of this machine lives.

    >>> first = reign_after(None, "a", 5.0, takes_others=False, are_gone=True, lost_after_s=2.7)
    >>> reign_after(first, "a", 100.0, takes_others=False, are_gone=True, lost_after_s=2.7).over_s
    100.0
    >>> reign_after(first, "another boot", 100.0, takes_others=False, are_gone=True, lost_after_s=2.7).over_s
    102.7
    """
    ends_by_itself_s = now_s + lost_after_s
    is_known = before is not None and boot != "" and before.boot == boot
    if before is None or not is_known or before.takes_others or not are_gone:
        return Reign(boot, takes_others, ends_by_itself_s)
    return Reign(boot, takes_others, min(max(before.over_s, now_s), ends_by_itself_s))


def follow(folder: Path, *, takes_others: bool, lost_after_s: float, clock: Clock) -> Reign:
    """Say in `folder`, for the next head, what this one is; return that. Waits a moment for nodes that are ending.

    To be called before anybody can join. Raises KeysUnsafe where others may write what is said there.
    """
    now_s, boot = clock.monotonic_s(), _boot()
    reign = reign_after(
        _said(folder),
        boot,
        now_s,
        takes_others=takes_others,
        are_gone=nobody_is_present(folder / PRESENCE, _GOING_S),
        lost_after_s=lost_after_s,
    )
    write_private(folder / _SAID, msgspec.json.encode(reign))
    return reign


def _said(folder: Path) -> Reign | None:
    data = read_private(folder / _SAID)
    try:
        return None if data is None else msgspec.json.decode(data, type=Reign)
    except msgspec.DecodeError:  # another version's
        return None


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return ""
