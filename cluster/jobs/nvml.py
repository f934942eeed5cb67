"""Looks at this machine's NVIDIA GPUs through NVML. Decides nothing about them.

NVML is a port, the module `pynvml` or what acts as one: drivers that are absent, broken or old are the normal case.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from cluster.jobs.devices import GpuReading, Xid
from cluster.jobs.gpu_memory import GpuUse, GpuUser

_DRIVER_FILES = ("/dev/nvidiactl", "/dev/dxg")
"""One of these is there where a driver is loaded (the second in WSL)."""

_NO_INSTANCE = 0xFFFFFFFF
_MAX_EVENTS = 1_000


class MemoryInfo(Protocol):
    total: int
    used: int


class ProcessInfo(Protocol):
    pid: int
    usedGpuMemory: int | None


class EventData(Protocol):
    device: object
    eventData: int
    gpuInstanceId: int
    computeInstanceId: int


class Nvml(Protocol):
    """The part of `pynvml` that is used, under its own names. Every call may raise NVMLError."""

    NVMLError: type[Exception]
    nvmlEventTypeXidCriticalError: int

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...
    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes: ...
    def nvmlDeviceGetName(self, handle: object) -> str | bytes: ...
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> MemoryInfo: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> Sequence[ProcessInfo]: ...
    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: object, index: int) -> object: ...
    def nvmlDeviceGetGpuInstanceId(self, device: object) -> int: ...
    def nvmlDeviceGetComputeInstanceId(self, device: object) -> int: ...
    def nvmlEventSetCreate(self) -> object: ...
    def nvmlDeviceRegisterEvents(self, handle: object, eventTypes: int, eventSet: object) -> None: ...
    def nvmlEventSetWait_v2(self, eventSet: object, timeoutms: int) -> EventData: ...
    def nvmlEventSetFree(self, eventSet: object) -> None: ...


def has_driver() -> bool:
    return any(Path(file).exists() for file in _DRIVER_FILES)


def find_nvml() -> Nvml | None:
    """Return `pynvml` where a driver is loaded and the extra `gpu` is installed."""
    if not has_driver():
        return None
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml  # type: ignore[no-any-return] # it has no types of its own


class GpuReader:
    """NVML; used by one thread at a time. `trouble` is why the last call to `gpus` could read nothing."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._is_open = False
        self._events: object | None = None
        self._watched: set[str] = set()
        self.trouble = ""

    def gpus(self) -> tuple[GpuReading, ...]:
        """Return the GPUs there are now, and have their XID errors reported from now on.

        What cannot be read of a GPU is its fault; one that has fallen off the bus is left out.
        """
        self.trouble = ""
        try:
            if not self._is_open:
                self._nvml.nvmlInit()
                self._is_open = True
            num_gpus = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as error:
            self.trouble = f"NVML: {error}"
            return ()
        return tuple(reading for index in range(num_gpus) for reading in self._read(index))

    def xids(self) -> list[Xid]:
        """Return the errors since the last call, without waiting."""
        found: list[Xid] = []
        while self._events is not None and len(found) < _MAX_EVENTS:
            try:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
                parent_id = _text(self._nvml.nvmlDeviceGetUUID(event.device))
            except self._nvml.NVMLError:
                break  # there are no more, or the GPU itself is lost: the next look finds that
            found.append(Xid(parent_id, int(event.eventData), _instance(event.gpuInstanceId, event.computeInstanceId)))
        return found

    def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            if self._events is not None:
                self._nvml.nvmlEventSetFree(self._events)
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError:
            return  # the driver has gone: there is nothing to give back

    def _read(self, index: int) -> Iterator[GpuReading]:
        try:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            gpu_id = _text(self._nvml.nvmlDeviceGetUUID(handle))
        except self._nvml.NVMLError:
            return
        self._watch(handle, gpu_id)
        try:
            name = _text(self._nvml.nvmlDeviceGetName(handle))
            memory_bytes, use = self._memory(handle)
            slices = list(self._slices(handle, index, gpu_id, name)) if self._is_cut(handle) else None
        except self._nvml.NVMLError as error:
            yield GpuReading(gpu_id, str(index), "", 0, gpu_id, fault=f"NVML: {error}")
            return
        if slices is None:
            yield GpuReading(gpu_id, str(index), name, memory_bytes, gpu_id, use=use)
        else:
            yield from slices

    def _memory(self, handle: object) -> tuple[int, GpuUse]:
        """Return how much memory a device or slice has, and who uses how much of it."""
        info = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except self._nvml.NVMLError:
            processes = []  # it does not tell everybody
        users = tuple(GpuUser(int(each.pid), each.usedGpuMemory) for each in processes)
        return int(info.total), GpuUse(int(info.used), users)

    def _is_cut(self, handle: object) -> bool:
        try:
            return bool(self._nvml.nvmlDeviceGetMigMode(handle)[0])
        except self._nvml.NVMLError:
            return False  # it knows no MIG

    def _slices(self, handle: object, index: int, gpu_id: str, name: str) -> Iterator[GpuReading]:
        nvml = self._nvml
        for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                piece = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
            except nvml.NVMLError:
                continue  # no slice there
            memory_bytes, use = self._memory(piece)
            yield GpuReading(
                _text(nvml.nvmlDeviceGetUUID(piece)),
                f"{index}:{place}",
                f"{name} MIG {memory_bytes / 2**30:.0f} GiB",
                memory_bytes,
                gpu_id,
                (nvml.nvmlDeviceGetGpuInstanceId(piece), nvml.nvmlDeviceGetComputeInstanceId(piece)),
                use=use,
            )

    def _watch(self, handle: object, gpu_id: str) -> None:
        """Have XID errors of a GPU reported from now on, once; some devices cannot."""
        if gpu_id in self._watched:
            return
        self._watched.add(gpu_id)
        try:
            if self._events is None:
                self._events = self._nvml.nvmlEventSetCreate()
            self._nvml.nvmlDeviceRegisterEvents(handle, self._nvml.nvmlEventTypeXidCriticalError, self._events)
        except self._nvml.NVMLError:
            return


def _instance(gpu: int, compute: int) -> tuple[int, int] | None:
    return None if _NO_INSTANCE in (gpu, compute) else (gpu, compute)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
