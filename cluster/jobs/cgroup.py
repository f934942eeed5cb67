"""What a container leaves of a Linux machine's CPUs and memory, from control groups. Knows no other limit.

Both versions are read, and each group up to the root counts: the tightest holds.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MOUNT = "/sys/fs/cgroup"

ReadText = Callable[[str], str | None]
"""Returns what stands in a file, or None where it cannot be read."""


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """None: there is no limit."""

    cpus: float | None = None
    memory_bytes: int | None = None


def limits_of_groups(read: ReadText) -> GroupLimits:
    """Return the limits of this process's own groups."""
    cpus: list[float] = []
    memory: list[int] = []
    for line in (read("/proc/self/cgroup") or "0::/").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for group in _up_to_root(path):
            if controllers == "":
                cpus += _quota((read(f"{_MOUNT}{group}/cpu.max") or "").split())
                memory += _number(read(f"{_MOUNT}{group}/memory.max"))
            if "cpu" in controllers.split(","):
                folder = f"{_MOUNT}/{controllers}{group}"
                texts = [read(f"{folder}/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
                cpus += _quota([text.strip() for text in texts])
            if "memory" in controllers.split(","):
                memory += _number(read(f"{_MOUNT}/{controllers}{group}/memory.limit_in_bytes"))
    return GroupLimits(min(cpus, default=None), min(memory, default=None))


def _up_to_root(path: str) -> Iterator[str]:
    group = path.rstrip("/")
    while group:
        yield group
        group = group.rpartition("/")[0]
    yield ""


def _quota(words: list[str]) -> list[float]:
    """Return the CPUs that `[quota, period]` allows; "max" and -1 allow all."""
    match words:
        case [quota, period] if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
            return [int(quota) / int(period)]
        case _:
            return []


def _number(text: str | None) -> list[int]:
    stripped = (text or "").strip()
    return [int(stripped)] if stripped.isdigit() else []
