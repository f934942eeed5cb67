"""What this machine has to give to tasks. Knows nothing of who takes it."""

import os
from pathlib import Path

from sage.base.resources import Resources

_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")


def resources_of_machine() -> Resources:
    """Return the CPUs and the memory that this process may use, and the GPUs that NVML sees, if it is installed."""
    return Resources(cpus=float(_num_cpus()), gpus=float(_num_gpus()), memory_bytes=_memory_bytes())


def _num_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    total_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = _CGROUP_MEMORY.read_text(encoding="ascii").strip()
    except OSError:
        return total_bytes
    return min(total_bytes, int(limit)) if limit.isdigit() else total_bytes


def _num_gpus() -> int:
    try:
        import pynvml
    except ImportError:
        return 0
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0
