"""What GPUs a user's code is told are its own, in this process; NVML is a fake."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

import sage
from cluster.local.cluster import LocalCluster
from tests.unit.jobs.fake_nvml import FakeGpu, FakeNvml

DEADLINE_S = 20.0


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    nvml = FakeNvml([FakeGpu("GPU-a", memory_bytes=800), FakeGpu("GPU-b", memory_bytes=800)])
    monkeypatch.setattr("cluster.local.explain.find_nvml", lambda: nvml)
    with LocalCluster() as cluster:
        yield cluster
    assert nvml.num_open == 0


def seen(_: object) -> tuple[sage.Device, ...]:
    return sage.devices()


async def seen_in_a_thread(_: object) -> tuple[sage.Device, ...]:
    await asyncio.sleep(0)
    return await asyncio.to_thread(sage.devices)


def seen_in_a_thread_of_its_own(_: object) -> tuple[sage.Device, ...]:
    found: list[tuple[sage.Device, ...]] = []
    thread = threading.Thread(target=lambda: found.append(sage.devices()))
    thread.start()
    thread.join(DEADLINE_S)
    return found[0]


class Looking(sage.KeyedProcess[int, int, str]):
    def on_record(self, record: int, context: sage.ProcessContext[int]) -> list[str]:
        return [device.id for device in sage.devices()]


def test_each_task_is_told_of_the_gpus_that_are_its_own(cluster: LocalCluster) -> None:
    flow = sage.Flow("flow")
    numbers = flow.from_collection(range(8))
    whole = numbers.map(seen).with_resources(gpus=1).collect()
    half = numbers.map_async(seen_in_a_thread).with_resources(gpus=0.5, gpu_memory_bytes=300).collect()
    none = numbers.map(seen).with_resources(cpus=0.1).collect()
    cluster.submit(flow).wait(DEADLINE_S)
    ((own,),) = set(whole.items)
    assert (own.share, own.memory_bytes) == (1.0, 800)
    other = "GPU-b" if own.id == "GPU-a" else "GPU-a"
    assert set(half.items) == {(sage.Device(other, "1" if other == "GPU-b" else "0", 0.5, 300),)}
    assert set(none.items) == {()}


def test_instances_of_one_step_have_a_gpu_each(cluster: LocalCluster) -> None:
    flow = sage.Flow("flow")
    found = flow.from_collection(range(8)).map(seen).with_parallelism(2).with_resources(gpus=1).collect()
    cluster.submit(flow).wait(DEADLINE_S)
    assert {(device.id, device.index) for (device,) in found.items} == {("GPU-a", "0"), ("GPU-b", "1")}


def test_a_process_is_told_too_and_a_thread_of_the_users_own_is_not(cluster: LocalCluster) -> None:
    flow = sage.Flow("flow")
    numbers = flow.from_collection(range(4))
    processed = numbers.key_by(lambda n: n % 2).process(Looking()).with_resources(gpus=2).collect()
    cluster.submit(flow).wait(DEADLINE_S)
    assert sorted(processed.items) == ["GPU-a"] * 4 + ["GPU-b"] * 4
    other = sage.Flow("other")
    threaded = other.from_collection([0]).map(seen_in_a_thread_of_its_own).with_resources(gpus=1).collect()
    cluster.submit(other).wait(DEADLINE_S)
    assert threaded.items == [()]


def test_outside_of_tasks_there_are_none(cluster: LocalCluster) -> None:
    assert sage.devices() == ()
