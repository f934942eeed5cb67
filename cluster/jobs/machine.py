"""Reads what this machine has: CPUs and memory by psutil and control groups, GPUs by NVML. Decides nothing."""

from collections.abc import Iterable
from pathlib import Path

import psutil

from cluster.jobs.cgroup import limits_of_groups
from cluster.jobs.devices import GpuReading, Offering, Readings, Wish
from cluster.jobs.nvml import GpuReader, Nvml, find_nvml
from sage.base.offer import NodeOffer


class ThisMachine:
    """What this machine offers, now and as its GPUs break, vanish and return. Used by one thread at a time."""

    def __init__(self, wish: Wish = Wish(), nvml: Nvml | None = None) -> None:
        """`nvml` None: GPUs are not looked for. Nothing is read yet."""
        self._reader = GpuReader(nvml) if nvml is not None else None
        self._offering = Offering(wish)

    @property
    def has_driver(self) -> bool:
        """Say whether looking again may find something else."""
        return self._reader is not None

    def look(self) -> NodeOffer:
        """Return what is offered now; some milliseconds with GPUs.

        Raises ConfigInvalid where, at the first look, fewer GPUs are sound than were wished for.
        """
        if self._reader is not None:
            self._offering.saw(self._reader.xids())
        return self._offering.offer(read_machine(self._reader))

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


def offer_of_machine() -> NodeOffer:
    """Look once, and return all that this machine could offer."""
    machine = ThisMachine(nvml=find_nvml())
    try:
        return machine.look()
    finally:
        machine.close()


def read_machine(reader: GpuReader | None) -> Readings:
    """Read everything now; `reader` None: there is no driver, or the extra `gpu` is not installed."""
    gpus = reader.gpus() if reader is not None else ()
    return Readings(
        num_cpus=_num_cpus(),
        memory_bytes=psutil.virtual_memory().total,
        limits=limits_of_groups(_read_text),
        gpus=gpus,
        gpu_trouble=reader.trouble if reader is not None else "",
        own_pids=_own(gpus),
    )


def _own(gpus: Iterable[GpuReading]) -> frozenset[int]:
    """Return those users of the GPUs that are this process or come from it."""
    here = psutil.Process()
    return frozenset(pid for pid in {user.pid for gpu in gpus for user in gpu.use.users} if _comes_from(pid, here))


def _comes_from(pid: int, ancestor: psutil.Process) -> bool:
    try:
        process = psutil.Process(pid)
        return process == ancestor or ancestor in process.parents()
    except psutil.Error:
        return False  # it has ended, or is none that can be seen here


def _num_cpus() -> int:
    return len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX else psutil.cpu_count() or 1


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
