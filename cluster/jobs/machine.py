"""Reads what this machine has: CPUs and memory by psutil and control groups, GPUs by NVML. Decides nothing."""

from pathlib import Path

import psutil

from cluster.jobs.cgroup import limits_of_groups
from cluster.jobs.devices import Readings, Wish, offer_from_readings
from cluster.jobs.nvml import GpuReader, find_nvml
from sage.base.offer import NodeOffer


def offer_of_machine(wish: Wish = Wish()) -> NodeOffer:
    """Look once, and return what this machine offers; raises ConfigInvalid where it has fewer GPUs than wished for."""
    nvml = find_nvml()
    reader = GpuReader(nvml) if nvml is not None else None
    try:
        return offer_from_readings(read_machine(reader), wish)
    finally:
        if reader is not None:
            reader.close()


def read_machine(reader: GpuReader | None) -> Readings:
    """Look at everything now; `reader` None: there is no driver, or the extra `gpu` is not installed."""
    return Readings(
        num_cpus=_num_cpus(),
        memory_bytes=psutil.virtual_memory().total,
        limits=limits_of_groups(_read_text),
        gpus=reader.gpus() if reader is not None else (),
        gpu_trouble=reader.trouble if reader is not None else "",
    )


def _num_cpus() -> int:
    return len(psutil.Process().cpu_affinity() or ()) if psutil.LINUX else psutil.cpu_count() or 1


def _read_text(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
