"""A fake NVML: the functions of `pynvml` that are used, over GPUs that tests break, unplug and cut up."""

from dataclasses import dataclass, field

NO_INSTANCE = 0xFFFFFFFF


class FakeError(Exception):
    """Any NVMLError."""


@dataclass
class Memory:
    total: int
    used: int


@dataclass
class Process:
    pid: int
    usedGpuMemory: int | None


@dataclass
class Event:
    device: object
    eventData: int
    gpuInstanceId: int = NO_INSTANCE
    computeInstanceId: int = NO_INSTANCE


@dataclass
class FakeSlice:
    uuid: str
    memory_bytes: int
    instance: tuple[int, int]
    used_bytes: int = 0
    processes: list[Process] = field(default_factory=list)


@dataclass
class FakeGpu:
    """`slices`: None: it knows no MIG; a gap is an empty place.

    `error`: what every question about it raises. `used_bytes` is the sum of all users' and the driver's.
    """

    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    memory_bytes: int = 80 << 30
    used_bytes: int = 0
    processes: list[Process] = field(default_factory=list)
    slices: list[FakeSlice | None] | None = None
    error: str = ""
    is_watched: bool = False


@dataclass
class FakeNvml:
    """`absent`: what `nvmlInit` raises; "" for none. `old_bindings` return bytes for texts."""

    gpus: list[FakeGpu] = field(default_factory=list)
    absent: str = ""
    old_bindings: bool = False
    can_watch: bool = True
    tells_processes: bool = True
    num_open: int = 0
    num_event_sets: int = 0
    events: list[Event] = field(default_factory=list)

    NVMLError: type[Exception] = FakeError
    nvmlEventTypeXidCriticalError: int = 8

    def report(self, gpu: FakeGpu, number: int, instance: tuple[int, int] = (NO_INSTANCE, NO_INSTANCE)) -> None:
        """Have an XID error reported, if the GPU is watched."""
        if gpu.is_watched:
            self.events.append(Event(gpu, number, *instance))

    def nvmlInit(self) -> None:
        if self.absent:
            raise FakeError(self.absent)
        self.num_open += 1

    def nvmlShutdown(self) -> None:
        self.num_open -= 1

    def nvmlDeviceGetCount(self) -> int:
        if self.absent:
            raise FakeError(self.absent)
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:
        if index >= len(self.gpus):
            raise FakeError("Invalid Argument")
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes:
        assert isinstance(handle, FakeGpu | FakeSlice)
        if isinstance(handle, FakeGpu) and handle.error == "GPU is lost":
            raise FakeError(handle.error)
        return self._text(handle.uuid)

    def nvmlDeviceGetName(self, handle: object) -> str | bytes:
        return self._text(self._sound(handle).name)

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Memory:
        if isinstance(handle, FakeSlice):
            return Memory(handle.memory_bytes, handle.used_bytes)
        return Memory(self._sound(handle).memory_bytes, self._sound(handle).used_bytes)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: object) -> list[Process]:
        if not self.tells_processes:
            raise FakeError("Insufficient Permissions")
        return handle.processes if isinstance(handle, FakeSlice) else self._sound(handle).processes

    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]:
        slices = self._sound(handle).slices
        if slices is None:
            raise FakeError("Not Supported")
        return [int(bool(slices)), int(bool(slices))]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int:
        return len(self._sound(handle).slices or ())

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: object, index: int) -> object:
        found = (self._sound(device).slices or [])[index]
        if found is None:
            raise FakeError("Not Found")
        return found

    def nvmlDeviceGetGpuInstanceId(self, device: object) -> int:
        assert isinstance(device, FakeSlice)
        return device.instance[0]

    def nvmlDeviceGetComputeInstanceId(self, device: object) -> int:
        assert isinstance(device, FakeSlice)
        return device.instance[1]

    def nvmlEventSetCreate(self) -> object:
        self.num_event_sets += 1
        return "events"

    def nvmlDeviceRegisterEvents(self, handle: object, eventTypes: int, eventSet: object) -> None:
        if not self.can_watch:
            raise FakeError("Not Supported")
        assert (eventTypes, eventSet) == (8, "events")
        self._sound(handle).is_watched = True

    def nvmlEventSetWait_v2(self, eventSet: object, timeoutms: int) -> Event:
        assert timeoutms == 0, "nobody waits"
        if not self.events:
            raise FakeError("Timeout")
        return self.events.pop(0)

    def nvmlEventSetFree(self, eventSet: object) -> None:
        self.num_event_sets -= 1

    def _sound(self, handle: object) -> FakeGpu:
        assert isinstance(handle, FakeGpu)
        if handle.error:
            raise FakeError(handle.error)
        return handle

    def _text(self, value: str) -> str | bytes:
        return value.encode() if self.old_bindings else value
